"""Anthropic's published prices (platform.claude.com/docs/en/about-claude/pricing), US dollars a million tokens."""

from decimal import Decimal as D

import pytest
from priced_call import MTOK, call, cost


def test_both_cache_writes_the_read_and_the_rest() -> None:
    # 10,000 in: 2,000 read from cache, 3,000 written, of these 1,000 for an hour
    billed = call(
        "anthropic",
        "claude-sonnet-4-5-20250929",
        input_tokens=10_000,
        cache_read_input_tokens=2_000,
        cache_creation_input_tokens=3_000,
        cache_creation_1h_input_tokens=1_000,
        output_tokens=400,
    )
    assert billed.costs["cost_input"] == 5_000 * D("3") / MTOK
    assert billed.costs["cost_cache_read"] == 2_000 * D("0.30") / MTOK
    assert billed.costs["cost_cache_write"] == 2_000 * D("3.75") / MTOK + 1_000 * D("6") / MTOK
    assert billed.costs["cost_output"] == 400 * D("15") / MTOK


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("claude-opus-4-8", "0.50"),
        ("claude-opus-5-5", "0.20"),
        ("claude-sonnet-5-5", "0.10"),
        ("claude-fable-5-1", "0.25"),
    ],
)
def test_a_cache_hit_is_not_always_a_tenth_of_the_input(model: str, read: str) -> None:
    assert cost("anthropic", model, input_tokens=1_000, cache_read_input_tokens=1_000) == 1_000 * D(read) / MTOK


@pytest.mark.parametrize(
    "name",
    ["claude-3-5-haiku-20241022", "claude-3-5-haiku-latest", "claude-3-5-haiku", "anthropic/claude-3-5-haiku-20241022"],
)
def test_aliases_and_dated_names(name: str) -> None:
    assert (
        cost("anthropic", name, input_tokens=1_000, output_tokens=10) == 1_000 * D("0.80") / MTOK + 10 * D("4") / MTOK
    )


def test_haiku_3_5_cost_a_dollar_until_december_2024() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    assert cost("anthropic", "claude-3-5-haiku-20241022", "2024-12-02T23:59:59", **tokens) == (
        1_000 * D("1") / MTOK + 100 * D("5") / MTOK
    )
    assert cost("anthropic", "claude-3-5-haiku-20241022", "2024-12-03T00:00:00", **tokens) == (
        1_000 * D("0.80") / MTOK + 100 * D("4") / MTOK
    )


# Long context, 1M beta: the whole request is billed higher OVER 200,000 tokens, cached ones counted.


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-sonnet-4-20250514"])
def test_200000_tokens_are_short_and_one_more_is_long(model: str) -> None:
    at = "2025-11-05T12:00:00"
    assert cost("anthropic", model, at, input_tokens=200_000, output_tokens=1_000) == (
        200_000 * D("3") / MTOK + 1_000 * D("15") / MTOK
    )
    assert (
        cost(
            "anthropic",
            model,
            at,
            input_tokens=200_001,
            cache_read_input_tokens=150_000,
            cache_creation_input_tokens=40_000,
            output_tokens=1_000,
        )
        == (10_001 * D("6") + 150_000 * D("0.60") + 40_000 * D("7.50") + 1_000 * D("22.50")) / MTOK
    )


def test_the_long_context_premium_of_opus_4_6_ended_on_13_march_2026() -> None:
    assert cost("anthropic", "claude-opus-4-6", "2026-03-12T23:59:59", input_tokens=300_000) == 300_000 * D("10") / MTOK
    assert cost("anthropic", "claude-opus-4-6", "2026-03-13T00:00:00", input_tokens=300_000) == 300_000 * D("5") / MTOK


def test_haiku_5_5_is_five_times_as_dear_over_100000_tokens() -> None:
    assert cost("anthropic", "claude-haiku-5-5", input_tokens=100_000) == 100_000 * D("0.10") / MTOK
    assert cost("anthropic", "claude-haiku-5-5", input_tokens=100_001) == 100_001 * D("0.50") / MTOK


# Tiers.


def test_a_batch_halves_everything_but_searches() -> None:
    billed = call(
        "anthropic",
        "claude-opus-4-8",
        is_batch=True,
        input_tokens=1_000,
        cache_read_input_tokens=200,
        cache_creation_input_tokens=300,
        cache_creation_1h_input_tokens=300,
        output_tokens=100,
        quantities={"web_search": 2},
    )
    assert billed.total == (
        500 * D("2.50") / MTOK
        + 200 * D("0.25") / MTOK
        + 300 * D("5") / MTOK
        + 100 * D("12.50") / MTOK
        + 2 * D("10") / 1_000
    )


def test_a_retired_model_had_batches_too() -> None:
    assert cost(
        "anthropic", "claude-3-7-sonnet-20250219", "2025-06-01T00:00:00", is_batch=True, input_tokens=1_000
    ) == (1_000 * D("3") / 2 / MTOK)


@pytest.mark.parametrize(
    ("model", "price"), [("claude-opus-5", "10"), ("claude-opus-5-5", "8"), ("claude-opus-4-7", "30")]
)
def test_fast_mode_is_not_one_multiple(model: str, price: str) -> None:
    assert cost("anthropic", model, speed="fast", input_tokens=1_000) == 1_000 * D(price) / MTOK
    assert cost("anthropic", model, speed="standard", input_tokens=1_000) < 1_000 * D(price) / MTOK


def test_fast_mode_of_a_model_without_one_is_unpriced() -> None:
    assert call("anthropic", "claude-haiku-4-5", speed="fast", input_tokens=1_000).status == "unpriced"


def test_the_priority_tier_is_committed_capacity() -> None:
    assert call("anthropic", "claude-sonnet-4-5", service_tier="priority", input_tokens=1_000).status == "unpriced"
    assert call("anthropic", "claude-sonnet-4-5", service_tier="standard", input_tokens=1_000).status == "priced"


def test_inference_in_the_us_costs_ten_percent_more_from_opus_4_6_on() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400, "output_tokens": 100}
    standard = 600 * D("5") / MTOK + 400 * D("0.50") / MTOK + 100 * D("25") / MTOK
    assert cost("anthropic", "claude-opus-4-6", region="us", **tokens) == standard * D("1.1")
    assert cost("anthropic", "claude-opus-4-6", region="global", **tokens) == standard
    assert cost("anthropic", "claude-opus-4-5", region="us", **tokens) == standard


@pytest.mark.parametrize(
    ("model", "at", "input_price", "output_price"),
    [
        ("claude-2", "2023-11-20T23:59:59", "11.02", "32.68"),
        ("claude-2.0", "2023-11-20T23:59:59", "11.02", "32.68"),
        ("claude-2.0", "2023-11-21T00:00:00", "8", "24"),
        ("claude-2.1", "2024-06-01T00:00:00", "8", "24"),
        ("claude-instant-1.2", "2024-06-01T00:00:00", "0.80", "2.40"),
    ],
)
def test_the_first_models_by_their_versions(model: str, at: str, input_price: str, output_price: str) -> None:
    assert cost("anthropic", model, at, input_tokens=1_000, output_tokens=100) == (
        1_000 * D(input_price) / MTOK + 100 * D(output_price) / MTOK
    )
