"""DeepSeek: changes at an hour, peak hours in dated periods (api-docs.deepseek.com/quick_start/pricing)."""

from decimal import Decimal as D

import pytest
from priced_call import MTOK, call, cost

TOKENS = {"input_tokens": 1_000_000, "cache_read_input_tokens": 400_000, "output_tokens": 100_000}


def dollars(miss: str, hit: str, out: str) -> D:
    """What TOKENS cost at a price a million of cache misses, cache hits and output."""
    return 600_000 * D(miss) / MTOK + 400_000 * D(hit) / MTOK + 100_000 * D(out) / MTOK


def test_the_promotion_of_v3_ended_at_16_00_utc() -> None:
    assert cost("deepseek", "deepseek-chat", "2025-02-08T15:59:59", **TOKENS) == dollars("0.14", "0.014", "0.28")
    assert cost("deepseek", "deepseek-chat", "2025-02-08T16:00:00", **TOKENS) == dollars("0.27", "0.07", "1.10")


def test_a_cached_read_had_no_discount_before_context_caching() -> None:
    assert cost("deepseek", "deepseek-chat", "2024-08-01T23:59:59", **TOKENS) == dollars("0.14", "0.14", "0.28")


@pytest.mark.parametrize(
    ("moment", "chat", "reasoner"),
    [
        ("2025-03-01T16:29:59", ("0.27", "0.07", "1.10"), ("0.55", "0.14", "2.19")),
        ("2025-03-01T16:30:00", ("0.135", "0.035", "0.55"), ("0.135", "0.035", "0.55")),
        ("2025-03-02T00:29:59", ("0.135", "0.035", "0.55"), ("0.135", "0.035", "0.55")),
        ("2025-03-02T00:30:00", ("0.27", "0.07", "1.10"), ("0.55", "0.14", "2.19")),
        ("2025-02-26T16:29:59", ("0.27", "0.07", "1.10"), ("0.55", "0.14", "2.19")),
        ("2025-02-25T20:00:00", ("0.27", "0.07", "1.10"), ("0.55", "0.14", "2.19")),  # before the discount began
        ("2025-09-05T15:59:59", ("0.27", "0.07", "1.10"), ("0.55", "0.14", "2.19")),
        ("2025-09-05T16:00:00", ("0.56", "0.07", "1.68"), ("0.56", "0.07", "1.68")),
        ("2025-09-05T20:00:00", ("0.56", "0.07", "1.68"), ("0.56", "0.07", "1.68")),  # no more off-peak hours
        ("2025-10-01T00:00:00", ("0.28", "0.028", "0.42"), ("0.28", "0.028", "0.42")),
    ],
)
def test_off_peak_hours_of_2025(moment: str, chat: tuple[str, str, str], reasoner: tuple[str, str, str]) -> None:
    assert cost("deepseek", "deepseek-chat", moment, **TOKENS) == dollars(*chat)
    assert cost("deepseek", "deepseek-reasoner", moment, **TOKENS) == dollars(*reasoner)


def test_cached_reads_fell_to_a_tenth_at_12_15_utc() -> None:
    assert cost("deepseek", "deepseek-v4-flash", "2026-04-26T12:14:59", **TOKENS) == dollars("0.14", "0.028", "0.28")
    assert cost("deepseek", "deepseek-v4-flash", "2026-04-26T12:15:00", **TOKENS) == dollars("0.14", "0.0028", "0.28")
    assert cost("deepseek", "deepseek-v4-pro", "2026-05-01T02:00:00", **TOKENS) == dollars("0.435", "0.003625", "0.87")


@pytest.mark.parametrize(
    ("moment", "price"),
    [
        ("2026-08-16T15:59:59", ("0.435", "0.003625", "0.87")),  # the flat price
        ("2026-08-16T16:00:00", ("0.66", "0.022", "1.98")),  # off-peak
        ("2026-08-17T00:59:59", ("0.66", "0.022", "1.98")),
        ("2026-08-17T01:00:00", ("1.32", "0.044", "3.96")),  # peak
        ("2026-08-17T03:59:59", ("1.32", "0.044", "3.96")),
        ("2026-08-17T04:00:00", ("0.66", "0.022", "1.98")),
        ("2026-08-17T06:00:00", ("1.32", "0.044", "3.96")),
        ("2026-08-17T10:00:00", ("0.66", "0.022", "1.98")),
        ("2026-08-22T02:00:00", ("1.32", "0.044", "3.96")),  # a Saturday, before weekends were off-peak
        ("2026-08-23T02:00:00", ("0.66", "0.022", "1.98")),  # a Sunday
        ("2026-08-24T02:00:00", ("1.32", "0.044", "3.96")),  # a Monday
        ("2026-09-14T07:00:00", ("1.32", "0.044", "3.96")),  # not moved to Flash: that was called off
        ("2026-09-25T02:00:00", ("0.66", "0.022", "1.98")),  # Mid-Autumn, a Friday
        ("2026-10-05T07:00:00", ("0.66", "0.022", "1.98")),  # National Day's week, a Monday
        ("2026-10-08T07:00:00", ("1.32", "0.044", "3.96")),
        ("2026-11-14T02:00:00", ("0.66", "0.022", "1.98")),  # a Saturday
    ],
)
def test_peak_hours_of_v4_pro(moment: str, price: tuple[str, str, str]) -> None:
    assert cost("deepseek", "deepseek-v4-pro", moment, **TOKENS) == dollars(*price)


@pytest.mark.parametrize(
    ("moment", "price"),
    [
        ("2026-09-10T03:59:59", ("0.44", "0.014", "1.32")),  # V4 Flash, peak
        ("2026-09-10T04:00:00", ("0.15", "0.003", "0.60")),  # V4.1 Flash, off-peak
        ("2026-09-10T06:00:00", ("0.30", "0.006", "1.20")),  # V4.1 Flash, peak
        ("2026-09-12T06:00:00", ("0.15", "0.003", "0.60")),  # a Saturday
    ],
)
def test_the_retired_name_is_billed_as_the_model_that_serves_it(moment: str, price: tuple[str, str, str]) -> None:
    assert cost("deepseek", "deepseek-v4-flash", moment, **TOKENS) == dollars(*price)


def test_a_model_has_no_price_before_it_came_and_after_it_went() -> None:
    assert call("deepseek", "deepseek-v4-pro", "2026-04-23T23:59:59", **TOKENS).status == "unpriced"
    assert call("deepseek", "deepseek-flash", "2026-09-10T03:59:59", **TOKENS).status == "unpriced"
    assert call("deepseek", "deepseek-chat", "2026-07-24T15:59:00", **TOKENS).status == "unpriced"


def test_the_first_microsecond_of_an_hour_belongs_to_it() -> None:
    assert cost("deepseek", "deepseek-v4-pro", "2026-08-16T15:59:59.999999", **TOKENS) == dollars(
        "0.435", "0.003625", "0.87"
    )
