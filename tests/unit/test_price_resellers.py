"""The same models under the names of Amazon Bedrock and Azure, US dollars a million tokens."""

from decimal import Decimal as D

import pytest
from priced_call import MTOK, call, cost

TOKENS = {"input_tokens": 1_000, "cache_read_input_tokens": 400, "output_tokens": 100}


def dollars(fresh: str, cached: str, out: str) -> D:
    """What TOKENS cost."""
    return 600 * D(fresh) / MTOK + 400 * D(cached) / MTOK + 100 * D(out) / MTOK


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3", "0.30", "15")),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3.30", "0.33", "16.50")),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3.30", "0.33", "16.50")),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", ("3.30", "0.33", "16.50")),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ("3.30", "0.33", "16.50"),
        ),
        ("bedrock/global.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3", "0.30", "15")),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", ("3", "0.30", "15")),  # no premium before Sonnet 4.5
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", ("3", "0.30", "15")),
        ("us.amazon.nova-pro-v1:0", ("0.80", "0.20", "3.20")),
    ],
)
def test_bedrock_names_and_its_regional_premium(name: str, price: tuple[str, str, str]) -> None:
    assert cost("aws.bedrock", name, **TOKENS) == dollars(*price)


def test_a_model_past_its_end_of_life_costs_twice_on_bedrock() -> None:
    name = "anthropic.claude-3-5-sonnet-20241022-v2:0"
    assert cost("aws.bedrock", name, "2025-11-30T23:59:59", **TOKENS) == dollars("3", "0.30", "15")
    assert cost("aws.bedrock", name, "2025-12-01T00:00:00", **TOKENS) == dollars("6", "0.60", "30")


def test_long_context_on_bedrock_with_the_regional_premium() -> None:
    name = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert cost("aws.bedrock", name, input_tokens=200_001, output_tokens=100) == (
        200_001 * D("6.60") / MTOK + 100 * D("24.75") / MTOK
    )


def test_bedrock_tiers() -> None:
    assert cost("aws.bedrock", "amazon.nova-pro-v1:0", is_batch=True, **TOKENS) == dollars("0.40", "0.10", "1.60")
    assert cost("aws.bedrock", "amazon.nova-pro-v1:0", service_tier="flex", **TOKENS) == dollars("0.40", "0.10", "1.60")
    assert cost("aws.bedrock", "amazon.nova-pro-v1:0", service_tier="priority", **TOKENS) == dollars(
        "1.40", "0.35", "5.60"
    )
    assert call("aws.bedrock", "amazon.nova-pro-v1:0", service_tier="reserved", **TOKENS).status == "unpriced"
    assert call("aws.bedrock", "us.anthropic.claude-opus-5", service_tier="flex", **TOKENS).status == "unpriced"


def test_an_application_inference_profile_hides_its_model() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/amazon.nova-pro-v1:0"
    assert call("aws.bedrock", arn, **TOKENS).status == "unpriced"


@pytest.mark.parametrize("provider", ["azure.ai.openai", "azure.ai.inference", "azure", "azure_openai"])
def test_azure_deployments_named_after_openai_models(provider: str) -> None:
    assert cost(provider, "gpt-4o-2024-08-06", **TOKENS) == dollars("2.50", "1.25", "10")
    assert cost(provider, "o3", **TOKENS) == dollars("2", "0.50", "8")


def test_azure_bills_claude_at_the_list_price() -> None:
    assert cost("azure.ai.inference", "claude-haiku-4-5", **TOKENS) == dollars("1", "0.10", "5")


def test_azure_batch_is_half_and_openai_tiers_are_not_azures() -> None:
    assert cost("azure.ai.openai", "gpt-4o", is_batch=True, input_tokens=1_000) == 1_000 * D("1.25") / MTOK
    assert call("azure.ai.openai", "gpt-4o", service_tier="priority", input_tokens=1_000).status == "unpriced"


def test_openai_data_residency_is_not_azures() -> None:
    assert cost("azure.ai.openai", "gpt-5.4", region="eu", input_tokens=1_000) == 1_000 * D("2.50") / MTOK


def test_what_is_true_of_the_model_is_true_on_azure() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400}
    assert cost("azure.ai.openai", "gpt-4o-mini", "2024-09-30T00:00:00", **tokens) == 1_000 * D("0.15") / MTOK
    heard = call("azure.ai.openai", "gpt-4o-audio-preview", input_tokens=1_000, audio_input_tokens=1_000)
    assert heard.total == 1_000 * D("40") / MTOK


def test_a_deployment_with_a_name_of_its_own_is_unpriced() -> None:
    assert call("azure.ai.openai", "prod-chat", **TOKENS).status == "unpriced"
    assert call("azure.ai.openai", "my-o4-mini", **TOKENS).status == "unpriced"


def test_azures_deepseek_is_not_billed_at_deepseeks_price() -> None:
    assert call("azure.ai.inference", "deepseek-chat", **TOKENS).status == "unpriced"


@pytest.mark.parametrize(
    ("model", "at", "input_price"),
    [
        ("gpt-35-turbo", "2023-10-01T00:00:00", "1.50"),
        ("gpt-35-turbo", "2024-06-01T00:00:00", "0.50"),
        ("gpt-35-turbo-1106", "2024-06-01T00:00:00", "1"),
        ("gpt-35-turbo-0125", "2024-06-01T00:00:00", "0.50"),
        ("gpt-35-turbo-16k", "2024-06-01T00:00:00", "3"),
        ("gpt-35-turbo-instruct", "2024-06-01T00:00:00", "1.50"),
    ],
)
def test_azures_names_of_gpt_3_5_have_no_dot(model: str, at: str, input_price: str) -> None:
    assert cost("azure.ai.openai", model, at, input_tokens=1_000) == 1_000 * D(input_price) / MTOK
    assert call("azure.ai.openai", "gpt-35-ultra", at, input_tokens=1_000).status == "unpriced"


@pytest.mark.parametrize(
    ("model", "input_price", "output_price"),
    [
        ("anthropic.claude-v2", "8", "24"),
        ("anthropic.claude-v2:1", "8", "24"),
        ("anthropic.claude-instant-v1", "0.80", "2.40"),
        ("meta.llama3-1-405b-instruct-v1:0", "2.40", "2.40"),
        ("us.meta.llama3-1-405b-instruct-v1:0", "2.40", "2.40"),
        ("cohere.command-r-v1:0", "0.50", "1.50"),
        ("cohere.command-r-plus-v1:0", "3", "15"),
        ("ai21.jamba-1-5-large-v1:0", "2", "8"),
        ("ai21.jamba-1-5-mini-v1:0", "0.20", "0.40"),
        ("amazon.titan-text-premier-v1:0", "0.50", "1.50"),
    ],
)
def test_older_models_of_bedrock(model: str, input_price: str, output_price: str) -> None:
    assert cost("aws.bedrock", model, "2025-06-01T00:00:00", input_tokens=1_000, output_tokens=100) == (
        1_000 * D(input_price) / MTOK + 100 * D(output_price) / MTOK
    )


def test_embeddings_of_cohere_on_bedrock() -> None:
    assert cost("aws.bedrock", "cohere.embed-english-v3", input_tokens=1_000) == 1_000 * D("0.10") / MTOK
