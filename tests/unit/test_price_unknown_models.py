"""A model that nobody has priced is unpriced, however much its name looks like one that is."""

import pytest
from genai_prices.data import providers
from priced_call import call

from streams.spend.model_names import find_model


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5.9-ultra"),
        ("openai", "gpt-5-nano-pro"),
        ("openai", "gpt-5-nano-2"),
        ("openai", "gpt-4o-2026-01-01"),
        ("openai", "gpt-4o-realtime-turbo"),
        ("openai", "gpt-4o-audio-preview-lite"),
        ("openai", "gpt-3.5-turbo-instruct-xl"),
        ("openai", "o35"),
        ("openai", "o3-ultra"),
        ("anthropic", "claude-sonnet-4-9"),
        ("anthropic", "claude-opus-4-10"),
        ("anthropic", "claude-haiku-4-50"),
        ("anthropic", "claude-3-5-sonnet-turbo"),
        ("anthropic", "claude-opus-6"),
        ("anthropic", "claude-instant-1"),
        ("google", "gemini-9-pro"),
        ("google", "gemini-2.5-pro-max"),
        ("google", "gemini-2.0-flash-thinking-plus"),
        ("google", "gemini-3.5-flash-8b"),
        ("google", "gemini-3.8-flash-ultra"),
        ("google", "claude-haiku-4-5-turbo"),
        ("x_ai", "grok-44"),
        ("x_ai", "grok-4-mega"),
        ("mistral_ai", "magistral-medium-next"),
        ("mistral_ai", "magistral-medium-2701"),
        ("mistral_ai", "mixtral-8x7b-mega"),
        ("deepseek", "deepseek-chat-v9"),
        ("deepseek", "deepseek-v4-flash-lite"),
        ("aws.bedrock", "us.anthropic.claude-opus-4-50-v1:0"),
        ("aws.bedrock", "amazon.nova-pro-max-v1:0"),
        ("aws.bedrock", "amazon.nova-pro-v2:0"),
        ("aws.bedrock", "us.amazon.nova-lite-v3:0"),
        ("aws.bedrock", "anthropic.claude-3-haiku-20250307-v1:0"),
        ("cohere", "command-light-nightly-xl"),
        ("azure.ai.openai", "o4-mini-high-res"),
    ],
)
def test_a_new_model_is_not_priced_by_the_name_of_an_older_one(provider: str, model: str) -> None:
    unknown = call(provider, model, input_tokens=1_000, output_tokens=10)
    assert (unknown.status, unknown.rate_id, unknown.total) == ("unpriced", None, None)
    assert unknown.units == "input_tokens,output_tokens"
    assert set(unknown.costs.values()) == {None}


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5-nano-2025-08-07"),
        ("openai", "computer-use-preview-2025-03-11"),
        ("openai", "gpt-4o-mini-audio-preview-2024-12-17"),
        ("anthropic", "claude-opus-4-1-20250805"),
        ("anthropic", "claude-3-7-sonnet-latest"),
        ("anthropic", "claude-sonnet-4-5@20250929"),
        ("google", "gemini-2.5-pro-preview-05-06"),
        ("google", "gemini-2.5-pro-exp-03-25"),
        ("google", "gemini-2.0-flash-001"),
        ("google", "gemini-2.5-flash-preview-09-2025"),
        ("google", "gemini-3-pro-preview"),
        ("google", "claude-opus-4-1@20250805"),
        ("mistral_ai", "magistral-medium-2509"),
        ("aws.bedrock", "mistral.mistral-7b-instruct-v0:2"),
        ("aws.bedrock", "us.meta.llama3-3-70b-instruct-v1:0"),
        ("aws.bedrock", "amazon.nova-pro-v1:0:300k"),
    ],
)
def test_dates_and_versions_are_suffixes_of_a_known_name(provider: str, model: str) -> None:
    assert call(provider, model, input_tokens=1_000).status == "priced"


@pytest.mark.parametrize(
    "provider", ["openai", "anthropic", "google", "mistral", "groq", "x-ai", "cohere", "perplexity"]
)
def test_nothing_is_priced_by_a_prefix(provider: str) -> None:
    published = next(p for p in providers if p.id == provider)
    for model in published.models:
        for stranger in (f"{model.id}-zzz", f"{model.id}9", f"{model.id}x", f"zzz{model.id}"):
            if provider == "openai" and stranger.startswith("ft:"):
                continue  # fine-tuned models end in names that people chose
            found = find_model(provider, stranger)
            assert found is None, f"{stranger} is priced as {found[1].id}"
