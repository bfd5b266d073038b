"""Mistral, Groq, xAI, Perplexity, Cohere, OpenRouter: published prices, US dollars a million tokens."""

from decimal import Decimal as D

import pytest
from priced_call import MTOK, call, cost

# Mistral


def test_mistral_large_latest_moved_to_large_3() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    assert cost("mistral_ai", "mistral-large-latest", "2025-12-01T23:59:59", **tokens) == (
        1_000 * D("2") / MTOK + 100 * D("6") / MTOK
    )
    assert cost("mistral_ai", "mistral-large-latest", "2025-12-02T00:00:00", **tokens) == (
        1_000 * D("0.50") / MTOK + 100 * D("1.50") / MTOK
    )
    assert cost("mistral_ai", "mistral-large-2411", **tokens) == 1_000 * D("2") / MTOK + 100 * D("6") / MTOK
    assert cost("mistral_ai", "mistral-large-2407", "2024-09-01T00:00:00", **tokens) == (
        1_000 * D("3") / MTOK + 100 * D("9") / MTOK
    )


def test_mistral_large_4_had_three_prices_in_a_month_and_batches_follow() -> None:
    for day, price in [("2026-10-15", "0.68"), ("2026-10-25", "1.36"), ("2026-10-30", "0.70")]:
        assert cost("mistral", "mistral-large-4", f"{day}T12:00:00", input_tokens=1_000) == 1_000 * D(price) / MTOK
        assert cost("mistral", "mistral-large-4", f"{day}T12:00:00", is_batch=True, input_tokens=1_000) == (
            1_000 * D(price) / 2 / MTOK
        )


def test_mistral_regional_inference_costs_ten_percent_more() -> None:
    assert cost("mistral_ai", "mistral-medium-2508", region="eu", input_tokens=1_000) == 1_000 * D("0.44") / MTOK


def test_mistral_reads_documents_by_the_page() -> None:
    assert cost("mistral_ai", "mistral-ocr-2512", quantities={"page": 30}) == 30 * D("2") / 1_000


# Groq


def test_groq_serves_flex_at_the_on_demand_price_and_batches_at_half() -> None:
    for tier in ("", "on_demand", "auto", "flex"):
        assert (
            cost("groq", "llama-3.3-70b-versatile", service_tier=tier, input_tokens=1_000) == 1_000 * D("0.59") / MTOK
        )
    assert cost("groq", "llama-3.3-70b-versatile", is_batch=True, input_tokens=1_000) == 1_000 * D("0.295") / MTOK
    assert call("groq", "llama-3.3-70b-versatile", service_tier="performance", input_tokens=1_000).status == "unpriced"


def test_groq_batches_do_not_stack_with_prompt_caching() -> None:
    assert cost("groq", "openai/gpt-oss-120b", is_batch=True, input_tokens=1_000, cache_read_input_tokens=400) == (
        1_000 * D("0.075") / MTOK
    )


def test_groq_cached_reads_had_no_discount_before_caching() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400}
    assert cost("groq", "openai/gpt-oss-120b", "2025-10-20T23:59:59", **tokens) == 1_000 * D("0.15") / MTOK
    assert cost("groq", "openai/gpt-oss-120b", "2025-10-21T00:00:00", **tokens) == (
        600 * D("0.15") / MTOK + 400 * D("0.075") / MTOK
    )


def test_groq_bills_at_least_ten_seconds_of_audio_and_rounds_once() -> None:
    ten = (10 * D("0.111") / 3_600).quantize(D("1e-12"))
    assert cost("groq", "whisper-large-v3", quantities={"audio_second": 3}) == ten == D("0.000308333333")
    assert cost("groq", "whisper-large-v3", quantities={"audio_second": 17}) == (
        (17 * D("0.111") / 3_600).quantize(D("1e-12"))
    )


# xAI: long context counts FROM 200,000 tokens


@pytest.mark.parametrize("provider", ["x_ai", "x-ai", "xai"])
def test_exactly_200000_tokens_are_long_for_xai(provider: str) -> None:
    assert cost(provider, "grok-4.3", input_tokens=199_999) == 199_999 * D("1.25") / MTOK
    assert cost(provider, "grok-4.3", input_tokens=200_000, cache_read_input_tokens=50_000) == (
        150_000 * D("2.50") / MTOK + 50_000 * D("0.40") / MTOK
    )


def test_grok_4_long_requests_and_the_cut_of_grok_4_20() -> None:
    assert cost("xai", "grok-4", input_tokens=128_001) == 128_001 * D("6") / MTOK
    assert cost("xai", "grok-4.20", "2026-04-29T23:59:59", input_tokens=1_000) == 1_000 * D("2") / MTOK
    assert cost("xai", "grok-4.20", "2026-04-30T00:00:00", input_tokens=1_000) == 1_000 * D("1.25") / MTOK


def test_xai_batch_is_a_fifth_off_and_not_half() -> None:
    assert cost("xai", "grok-4.3", is_batch=True, input_tokens=1_000, cache_read_input_tokens=500) == (
        500 * D("1.25") * D("0.8") / MTOK + 500 * D("0.20") * D("0.8") / MTOK
    )
    assert call("xai", "grok-4.7", is_batch=True, input_tokens=1_000).status == "unpriced"


def test_xai_priority_and_its_us_endpoint() -> None:
    assert cost("xai", "grok-4.7", service_tier="priority", input_tokens=1_000) == 1_000 * D("4") / MTOK
    assert cost("xai", "grok-4.7", region="us-east-1", input_tokens=1_000) == 1_000 * D("2.20") / MTOK


# Others


def test_perplexity_bills_the_request_itself_and_reasoning_apart() -> None:
    assert cost("perplexity", "sonar", input_tokens=1_000, output_tokens=100) == (
        1_100 * D("1") / MTOK + D("5") / 1_000
    )
    assert cost("perplexity", "sonar", input_tokens=1_000, quantities={"request": 2}) == (
        1_000 * D("1") / MTOK + 2 * D("5") / 1_000
    )
    assert cost(
        "perplexity", "sonar-deep-research", input_tokens=0, output_tokens=900, reasoning_output_tokens=700
    ) == (200 * D("8") / MTOK + 700 * D("3") / MTOK)


def test_cohere_embeddings() -> None:
    assert cost("cohere", "embed-english-v3.0", operation="embeddings", input_tokens=1_000) == 1_000 * D("0.10") / MTOK
    assert cost("cohere", "command-a-03-2025", input_tokens=1_000) == 1_000 * D("2.50") / MTOK


def test_a_provider_nobody_knows_is_unpriced() -> None:
    assert call("acme-llm", "gpt-4o", input_tokens=1_000).status == "unpriced"


# Dated names and prices that the default data has under another name, or without their history


@pytest.mark.parametrize(
    ("model", "at", "input_price", "output_price"),
    [
        ("codestral-latest", "2024-09-16T23:59:59", "1", "3"),
        ("codestral-latest", "2024-09-17T00:00:00", "0.20", "0.60"),
        ("codestral-latest", "2025-01-13T00:00:00", "0.30", "0.90"),
        ("codestral-2405", "2025-06-01T00:00:00", "0.20", "0.60"),
        ("mistral-small-latest", "2024-09-16T23:59:59", "1", "3"),
        ("mistral-small-latest", "2024-09-17T00:00:00", "0.20", "0.60"),
        ("mistral-small-latest", "2025-01-30T00:00:00", "0.10", "0.30"),
        ("mistral-small-2409", "2025-06-01T00:00:00", "0.20", "0.60"),
        ("mistral-small-2501", "2025-06-01T00:00:00", "0.10", "0.30"),
        ("mistral-small-2503", "2025-06-01T00:00:00", "0.10", "0.30"),
        ("mistral-medium-3", "2026-04-28T23:59:59", "0.40", "2"),
        ("mistral-medium-3", "2026-04-29T00:00:00", "1.50", "7.50"),
        ("devstral-medium-2507", "2025-08-01T00:00:00", "0.40", "2"),
        ("mistral-saba-2502", "2025-06-01T00:00:00", "0.20", "0.60"),
        ("pixtral-12b-2409", "2025-06-01T00:00:00", "0.15", "0.15"),
        ("open-mistral-nemo-2407", "2024-09-16T23:59:59", "0.30", "0.30"),
        ("open-mistral-nemo-2407", "2024-09-17T00:00:00", "0.15", "0.15"),
    ],
)
def test_mistral_by_dated_names_and_dates(model: str, at: str, input_price: str, output_price: str) -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    standard = 1_000 * D(input_price) / MTOK + 100 * D(output_price) / MTOK
    assert cost("mistral_ai", model, at, **tokens) == standard
    assert cost("mistral_ai", model, at, is_batch=True, **tokens) == standard / 2


def test_groq_gpt_oss_cost_more_at_first() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    assert cost("groq", "openai/gpt-oss-120b", "2025-09-01T00:00:00", **tokens) == (
        1_000 * D("0.15") / MTOK + 100 * D("0.75") / MTOK
    )
    assert cost("groq", "openai/gpt-oss-20b", "2025-09-01T00:00:00", **tokens) == (
        1_000 * D("0.10") / MTOK + 100 * D("0.50") / MTOK
    )
    assert cost("groq", "openai/gpt-oss-20b", "2025-09-01T00:00:00", is_batch=True, **tokens) == (
        1_000 * D("0.05") / MTOK + 100 * D("0.25") / MTOK
    )
    assert cost("groq", "openai/gpt-oss-20b", "2026-01-04T00:00:00", **tokens) == (
        1_000 * D("0.075") / MTOK + 100 * D("0.30") / MTOK
    )


@pytest.mark.parametrize(
    ("provider", "model", "input_price", "output_price"),
    [
        ("x_ai", "grok-beta", "5", "15"),
        ("cohere", "command-r-03-2024", "0.50", "1.50"),
        ("cohere", "command-r-plus-04-2024", "3", "15"),
    ],
)
def test_the_first_models_of_a_provider(provider: str, model: str, input_price: str, output_price: str) -> None:
    assert cost(provider, model, "2024-12-01T00:00:00", input_tokens=1_000, output_tokens=100) == (
        1_000 * D(input_price) / MTOK + 100 * D(output_price) / MTOK
    )
