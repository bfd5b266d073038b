"""Own rates: negotiated prices, discounts, mark-ups, flat rates; the more specific wins, ties are refused."""

from decimal import Decimal as D
from pathlib import Path

import pytest
import yaml
from priced_call import MTOK, call, cost, table_of

from streams.errors import SpendError

MILLION = {"input_tokens": 200_000, "output_tokens": 0}


def of_input(price: str) -> D:
    """What MILLION costs at a price a million input tokens."""
    return 200_000 * D(price) / MTOK


def test_a_negotiated_price_takes_the_place_of_the_published_one() -> None:
    table = table_of({"id": "deal", "provider": "openai", "model": "gpt-5", "per_million_tokens": {"input": "1.00"}})
    deal = call("openai", "gpt-5", table=table, input_tokens=1_000, cache_read_input_tokens=400, output_tokens=10)
    # its input stands for the whole side, cached reads too; output stays as published
    assert deal.total == 1_000 * D("1.00") / MTOK + 10 * D("10") / MTOK
    assert deal.rate_id == "deal on openai/gpt-5"


def test_a_negotiated_price_can_name_cached_reads_and_long_context() -> None:
    table = table_of(
        {
            "id": "deal",
            "provider": "openai",
            "model": "gpt-5",
            "per_million_tokens": {
                "input": {"base": "1", "from": {"100000": "2"}},
                "cache_read": {"base": "0.1", "from": {"100000": "0.2"}},
                "output": "5",
            },
        }
    )
    assert cost(
        "openai", "gpt-5", table=table, input_tokens=99_999, cache_read_input_tokens=9_999, output_tokens=7
    ) == (90_000 * D("1") / MTOK + 9_999 * D("0.1") / MTOK + 7 * D("5") / MTOK)
    assert cost("openai", "gpt-5", table=table, input_tokens=100_000, cache_read_input_tokens=10_000) == (
        90_000 * D("2") / MTOK + 10_000 * D("0.2") / MTOK
    )
    assert call("openai", "gpt-5", table=table, input_tokens=1).rate_id == "deal on openai/gpt-5"  # its searches


def test_a_discount_takes_part_off_everything_in_every_tier() -> None:
    table = table_of({"id": "ten", "provider": "openai", "discount_percent": "10"})
    billed = call("openai", "gpt-5", table=table, is_batch=True, quantities={"web_search": 1}, **MILLION)
    assert billed.total == of_input("0.625") * D("0.9") + D("10") / 1_000 * D("0.9")
    assert billed.rate_id == "ten on openai/gpt-5:batch"


def test_a_markup_is_for_whom_it_is() -> None:
    table = table_of({"id": "resell", "customer": "globex", "markup_percent": "12.5"})
    assert cost("openai", "gpt-5", table=table, customer="globex", **MILLION) == of_input("1.25") * D("1.125")
    assert cost("openai", "gpt-5", table=table, customer="initech", **MILLION) == of_input("1.25")
    assert cost("openai", "gpt-5", table=table, **MILLION) == of_input("1.25")


def test_a_contract_is_a_tag() -> None:
    table = table_of({"id": "c7", "contract": "c-7", "discount_percent": "50"})
    assert cost("openai", "gpt-5", table=table, tags={"contract": "c-7"}, **MILLION) == of_input("0.625")
    assert cost("openai", "gpt-5", table=table, tags={"contract": "c-8", "x": "c-7"}, **MILLION) == of_input("1.25")


def test_prices_without_a_tier_are_for_the_standard_tier() -> None:
    table = table_of({"id": "deal", "provider": "openai", "model": "gpt-5", "per_million_tokens": {"input": "1"}})
    assert cost("openai", "gpt-5", table=table, is_batch=True, **MILLION) == of_input("0.625")
    every = table_of(
        {
            "id": "deal",
            "provider": "openai",
            "model": "gpt-5",
            "service_tier": "*",
            "per_million_tokens": {"input": "1"},
        }
    )
    assert cost("openai", "gpt-5", table=every, is_batch=True, **MILLION) == of_input("1")


def test_committed_capacity_is_priced_by_a_rate_for_every_tier() -> None:
    table = table_of(
        {"id": "ptu", "provider": "google", "service_tier": "*", "per_million_tokens": {"input": "0", "output": "0"}}
    )
    served = call("gcp.vertex_ai", "gemini-2.5-pro", table=table, service_tier="provisioned_throughput", **MILLION)
    assert (served.status, served.total, served.rate_id) == ("priced", D(0), "ptu")


def test_the_more_specific_rate_wins() -> None:
    table = table_of(
        {"id": "all", "discount_percent": "1"},
        {"id": "provider", "provider": "openai", "discount_percent": "2"},
        {"id": "pattern", "provider": "openai", "model": "gpt-*", "discount_percent": "3"},
        {"id": "longer", "provider": "openai", "model": "gpt-5*", "discount_percent": "4"},
        {"id": "model", "provider": "openai", "model": "gpt-5", "discount_percent": "5"},
        {"id": "contract", "contract": "c", "discount_percent": "6"},
        {"id": "customer", "customer": "globex", "discount_percent": "7"},
        {"id": "both", "customer": "globex", "contract": "c", "discount_percent": "8"},
    )

    def rate(provider: str, model: str, **fields: object) -> str:
        rate_id = call(provider, model, table=table, **MILLION, **fields).rate_id
        assert rate_id is not None
        return rate_id.partition(" on ")[0]

    assert rate("groq", "llama-3.1-8b-instant") == "all"
    assert rate("openai", "o3") == "provider"
    assert rate("openai", "gpt-4o") == "pattern"
    assert rate("openai", "gpt-5-mini") == "longer"
    assert rate("openai", "gpt-5") == "model"
    assert rate("openai", "gpt-5", tags={"contract": "c"}) == "contract"
    assert rate("openai", "gpt-5", customer="globex") == "customer"
    assert rate("openai", "gpt-5", customer="globex", tags={"contract": "c"}) == "both"


def test_a_more_specific_discount_is_on_the_next_price_not_on_another_discount() -> None:
    table = table_of(
        {"id": "list", "provider": "openai", "model": "gpt-5", "per_million_tokens": {"input": "1"}},
        {"id": "ten", "provider": "openai", "model": "gpt-5", "region": "eu", "discount_percent": "10"},
        {"id": "half", "customer": "globex", "discount_percent": "50"},
    )
    assert cost("openai", "gpt-5", table=table, customer="globex", **MILLION) == of_input("1") * D("0.5")
    assert cost("openai", "gpt-5", table=table, customer="globex", region="eu", **MILLION) == of_input("1") * D("0.5")
    assert cost("openai", "gpt-5", table=table, region="eu", **MILLION) == of_input("1") * D("0.9")


def test_each_bucket_takes_the_most_specific_rate_that_prices_it() -> None:
    table = table_of(
        {"id": "gpu", "provider": "lambda", "per_unit": {"gpu_second": "0.0011"}},
        {"id": "h100", "provider": "lambda", "model": "h100", "per_unit": {"gb_hour": "0.02"}},
    )
    used = call("lambda", "h100", table=table, operation="compute", quantities={"gpu_second": 90, "gb_hour": 3})
    assert (used.status, used.rate_id) == ("priced", "h100+gpu")
    assert used.costs["cost_quantities"] == 90 * D("0.0011") + 3 * D("0.02")


def test_a_flat_rate_prices_a_provider_without_models() -> None:
    table = table_of({"id": "gpu", "provider": "lambda", "per_unit": {"gpu_second": "0.0011"}})
    used = call("Lambda", "", table=table, operation="compute", quantities={"gpu_second": 3_600})
    assert (used.status, used.rate_id, used.total) == ("priced", "gpu", 3_600 * D("0.0011"))
    assert call("lambda", "", table=table, input_tokens=5).status == "unpriced"


def test_a_rate_applies_from_its_first_instant_to_before_its_last() -> None:
    table = table_of(
        {
            "id": "sale",
            "provider": "openai",
            "effective_from": "2026-11-03T06:30:00Z",
            "effective_to": "2026-11-03T08:00:00+01:00",
            "discount_percent": 20,
        }
    )
    for moment, factor in [
        ("2026-11-03T06:29:59.999999", "1"),
        ("2026-11-03T06:30:00", "0.8"),
        ("2026-11-03T06:59:59.999999", "0.8"),
        ("2026-11-03T07:00:00", "1"),
    ]:
        assert cost("openai", "gpt-5", moment, table, **MILLION) == of_input("1.25") * D(factor)


def test_a_rate_can_apply_at_hours_of_the_week() -> None:
    nights = {"days": ["sat", "sun"], "start": "22:00", "end": "00:00"}
    table = table_of({"id": "night", "provider": "openai", "windows": [nights], "discount_percent": "50"})
    for moment, factor in [
        ("2026-11-07T21:59:59", "1"),
        ("2026-11-07T22:00:00", "0.5"),
        ("2026-11-08T00:00:00", "1"),
        ("2026-11-08T23:59:59", "0.5"),
        ("2026-11-09T22:00:00", "1"),
    ]:
        assert cost("openai", "gpt-5", moment, table, **MILLION) == of_input("1.25") * D(factor)


def test_a_pattern_matches_the_published_name_and_the_one_that_events_write() -> None:
    table = table_of(
        {"id": "claude", "provider": "aws.bedrock", "model": "*claude-sonnet-4-5*", "discount_percent": "10"}
    )
    name = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert cost("aws.bedrock", name, table=table, **MILLION) == of_input("3.30") * D("0.9")


def test_the_example_of_the_docs_holds_together() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    assert [rate.id for rate in table_of(*yaml.safe_load(example)).own] == [
        "c-7",
        "globex-resale",
        "lambda-gpu",
        "openai-2026",
    ]


# Ties


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"provider": "openai"}, {"provider": "openai"}),
        ({"model": "gpt-5*"}, {"model": "*gpt-5"}),
        ({"customer": "a", "model": "o3"}, {"customer": "a", "model": "o3"}),
        ({"effective_to": "2026-02-01"}, {"effective_from": "2026-01-31"}),
    ],
)
def test_a_tie_is_an_error_that_names_both(one: dict[str, str], other: dict[str, str]) -> None:
    with pytest.raises(SpendError, match="'first' and 'second' are equally specific and overlap"):
        table_of({"id": "first", "discount_percent": "1", **one}, {"id": "second", "discount_percent": "2", **other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"customer": "a"}, {"customer": "b"}),
        ({"model": "gpt-5*"}, {"model": "o3-mi*"}),
        ({"model": "gpt-5*"}, {"model": "gpt-55*"}),
        ({"effective_to": "2026-02-01"}, {"effective_from": "2026-02-01"}),
        ({"provider": "openai"}, {"provider": "azure"}),
        ({"service_tier": "batch"}, {"service_tier": "flex"}),
        (
            {"windows": [{"start": "01:00", "end": "02:00"}]},
            {"windows": [{"start": "02:00", "end": "03:00"}]},
        ),
    ],
)
def test_rates_that_never_meet_or_have_an_order_are_no_tie(one: dict[str, str], other: dict[str, str]) -> None:
    table_of({"id": "first", "discount_percent": "1", **one}, {"id": "second", "discount_percent": "2", **other})


def test_rates_for_different_things_are_no_tie() -> None:
    table_of({"id": "a", "per_unit": {"gpu_second": "1"}}, {"id": "b", "per_unit": {"gb_hour": "1"}})


def test_one_id_is_one_rate() -> None:
    with pytest.raises(SpendError, match="'same' is given twice"):
        table_of({"id": "same", "discount_percent": "1"}, {"id": "same", "model": "x", "discount_percent": "1"})


def test_a_rate_too_fine_for_exact_arithmetic_is_refused() -> None:
    with pytest.raises(SpendError, match="'fine' has more digits"):
        table_of({"id": "fine", "provider": "acme", "per_unit": {"x": "999999999.000000000001"}})
    with pytest.raises(SpendError, match="'odd' has more digits"):
        table_of(
            {"id": "odd", "discount_percent": "33.333333333333"},
            {"id": "dear", "provider": "acme", "per_unit": {"x": "100000"}},
        )
