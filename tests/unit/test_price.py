"""How pricing adds up: buckets, rounding, what is partial or unpriced, bounds, order."""

import random
from datetime import UTC, datetime
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priced_call import MTOK, NOON, call, cost, events, prices, published_table, table_of

from schemas.priced import COST_COMPONENTS, COSTS
from streams.spend.price import price
from streams.spend.price_sheet import component
from streams.spend.rates import RateKey

OWN = {"id": "exact", "provider": "acme", "model": "m"}


def test_columns_are_the_priced_blocks_and_rows_keep_their_order() -> None:
    models = ["gpt-5", "unknown", "gpt-4o", "gpt-5"] * 50
    frame = events(
        [{"provider": "openai", "request_model": m, "time": NOON, "input_tokens": n} for n, m in enumerate(models)]
    )
    result = price(frame, published_table())
    assert result.columns == [
        "model",
        "pricing_status",
        "rate_id",
        "price_version",
        "unpriced_units",
        *COSTS,
        "problem",
    ]
    assert result["model"].to_list() == models
    assert result["cost_total"].to_list()[3::4] == [n * 1_250_000 for n in range(3, 200, 4)]
    assert {str(result.schema[name]) for name in COSTS} == {"Int64"}


def test_an_empty_batch_has_no_rows() -> None:
    assert price(events([]), published_table()).height == 0


def test_a_call_that_counted_nothing_costs_nothing_when_its_model_has_a_price() -> None:
    aborted = call("openai", "gpt-5", error_type="timeout")
    assert (aborted.status, aborted.total, set(aborted.costs.values())) == ("priced", D(0), {D(0)})
    assert call("openai", "gpt-9").total is None


def test_the_total_is_the_sum_of_its_components() -> None:
    billed = call(
        "openai",
        "gpt-realtime",
        input_tokens=1_000,
        cache_read_input_tokens=300,
        audio_input_tokens=400,
        image_input_tokens=100,
        output_tokens=500,
        audio_output_tokens=200,
    )
    assert billed.total == sum(billed.costs.values())
    assert all(billed.costs[name] for name in COST_COMPONENTS if name not in ("cost_cache_write", "cost_quantities"))


@pytest.mark.parametrize(
    ("units", "picos"),
    [(1, 0), (2, 0), (3, 1), (5, 1), (6, 2), (10, 2), (14, 4)],  # 0.25, 0.5, 0.75, 1.25, 1.5, 2.5, 3.5
)
def test_half_a_picodollar_goes_to_the_even_one(units: int, picos: int) -> None:
    a_picodollar = {**OWN, "per_unit": {"gpu_second": "0.000000000001"}}
    table = table_of(a_picodollar, {"id": "quarter", "customer": "zoo", "discount_percent": "75"})
    got = cost("acme", "m", table=table, customer="zoo", quantities={"gpu_second": units})
    assert got == D(picos).scaleb(-12)


def test_a_component_is_rounded_once_not_bucket_by_bucket() -> None:
    # a quarter of a picodollar a token: 1.25 heard and 1.25 spoken are 2.5, to even 2; rounded apart, 1 and 1 too;
    # but 1.5 and 1.5 are 3, and rounded apart 2 and 2
    a_picodollar = {**OWN, "per_million_tokens": {"audio_input": "0.000001", "audio_output": "0.000001"}}
    table = table_of(a_picodollar, {"id": "quarter", "customer": "zoo", "discount_percent": "75"})
    six_each = {"input_tokens": 6, "audio_input_tokens": 6, "output_tokens": 6, "audio_output_tokens": 6}
    assert call("acme", "m", table=table, customer="zoo", **six_each).costs["cost_audio"] == D(3).scaleb(-12)


def test_a_price_with_more_digits_than_a_picodollar_stays_exact_until_the_end() -> None:
    # DeepSeek's cached read: $0.003625 a million tokens, 3,625 picodollars a token; 7.5 % off: 3,353.125
    table = table_of({"id": "off", "provider": "deepseek", "discount_percent": "7.5"})
    got = cost("deepseek", "deepseek-v4-pro", "2026-05-04T12:00:00", table, input_tokens=3, cache_read_input_tokens=3)
    assert got == (3 * D("0.003625") * D("0.925") / MTOK).quantize(D("1e-12")) == D("0.000000010059")


# Partial and unpriced


def test_a_count_without_a_price_makes_the_call_partial_and_is_named() -> None:
    billed = call("openai", "gpt-5", input_tokens=1_000, quantities={"web_search": 1, "gpu_second": 5, "carrots": 2})
    assert (billed.status, billed.units) == ("partial", "carrots,gpu_second")
    assert billed.total == 1_000 * D("1.25") / MTOK + D("10") / 1_000


def test_a_count_of_nothing_needs_no_price() -> None:
    assert call("openai", "gpt-5", input_tokens=1_000, quantities={"carrots": 0}).status == "priced"


def test_a_call_none_of_whose_counts_has_a_price_is_unpriced() -> None:
    billed = call("openai", "whisper-1", input_tokens=1_000)
    assert (billed.status, billed.total, billed.units) == ("unpriced", None, "input_tokens")


def test_output_of_an_embedding_model_is_named() -> None:
    billed = call("openai", "text-embedding-3-small", input_tokens=1_000, output_tokens=7)
    assert (billed.status, billed.units, billed.total) == ("partial", "output_tokens", 1_000 * D("0.02") / MTOK)


def test_a_model_that_writes_caches_for_five_minutes_only_does_not_bill_an_hour_as_five() -> None:
    billed = call(
        "aws.bedrock",
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        input_tokens=1_000,
        cache_creation_input_tokens=500,
        cache_creation_1h_input_tokens=200,
    )
    assert (billed.status, billed.units) == ("partial", "cache_creation_1h_input_tokens")
    assert billed.costs["cost_cache_write"] == 300 * D("3.75") / MTOK


def test_quantities_are_known_by_more_than_one_name() -> None:
    one = call("openai", "gpt-5", quantities={"web_search": 2}).total
    assert call("openai", "gpt-5", quantities={"web_searches": 2}).total == one == 2 * D("10") / 1_000


@pytest.mark.parametrize(
    ("quantity", "where"),
    [
        ("audio_second", "cost_audio"),
        ("character", "cost_audio"),
        ("image", "cost_image"),
        ("web_search", "cost_quantities"),
        ("gpu_second", "cost_quantities"),
        ("page", "cost_quantities"),
    ],
)
def test_where_a_quantity_is_kept(quantity: str, where: str) -> None:
    assert component(quantity) == where


# Bounds


def test_more_than_a_million_dollars_is_a_problem_and_has_no_cost() -> None:
    table = table_of({**OWN, "per_unit": {"gpu_second": "1"}})
    at_most = call("acme", "m", table=table, quantities={"gpu_second": 1_000_000})
    assert (at_most.problem, at_most.total) == (None, D(1_000_000))
    beyond = call("acme", "m", table=table, quantities={"gpu_second": 1_000_001})
    assert (beyond.problem, beyond.total) == ("cost_out_of_bounds", None)


@pytest.mark.parametrize("count", [10**12 + 1, 2**62, 2**63 - 1, -1])
def test_absurd_counts_never_wrap(count: int) -> None:
    assert call("openai", "o1-pro", input_tokens=count).problem == "cost_out_of_bounds"
    assert call("openai", "gpt-5", quantities={"web_search": count}).problem == "cost_out_of_bounds"
    many = {"input_tokens": 10**12, "output_tokens": 10**12, "cache_read_input_tokens": 10**12}
    assert call("openai", "o1-pro", **many).problem == "cost_out_of_bounds"


def test_one_absurd_event_harms_no_other() -> None:
    good = {"provider": "openai", "request_model": "gpt-5", "time": NOON, "input_tokens": 1_000_000}
    results = prices([good, {**good, "input_tokens": 2**63 - 1}, good])
    assert [result.total for result in results] == [D("1.25"), None, D("1.25")]


# Against the exact sum, one event at a time


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_batch_of_anything_equals_the_exact_sum_of_each_event(seed: int) -> None:
    rng = random.Random(seed)
    table = published_table()
    models = [
        ("openai", "gpt-realtime"),
        ("openai", "gpt-5.4"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("deepseek", "deepseek-v4-pro"),
        ("groq", "whisper-large-v3"),
        ("xai", "grok-4.3"),
        ("openai", "nothing"),
    ]
    calls = []
    for _ in range(20):
        provider, model = rng.choice(models)
        read, write = rng.randrange(90_000), rng.randrange(90_000)
        calls.append(
            {
                "provider": provider,
                "request_model": model,
                "time": datetime.fromtimestamp(rng.randrange(1_760_000_000, 1_795_000_000), UTC)
                .replace(tzinfo=None)
                .isoformat(),
                "is_batch": rng.random() < 0.2,
                "region": rng.choice(["", "us"]),
                "input_tokens": read + write + rng.randrange(200_000),
                "cache_read_input_tokens": read,
                "cache_creation_input_tokens": write,
                "cache_creation_1h_input_tokens": rng.randrange(write + 1),
                "output_tokens": rng.randrange(9_000),
                "quantities": rng.choice([{}, {"web_search": 2}, {"audio_second": 31, "web_search": 1}]),
            }
        )
    for one, priced in zip(calls, prices(calls, table), strict=True):
        key = RateKey(one["provider"], one["request_model"], is_batch=one["is_batch"], region=one["region"])
        at = datetime.fromisoformat(one["time"]).replace(tzinfo=UTC)
        rates = table.unit_rates(key, at, one["input_tokens"])
        hour = one["cache_creation_1h_input_tokens"]
        counts = {
            "input": one["input_tokens"] - one["cache_read_input_tokens"] - one["cache_creation_input_tokens"],
            "cache_read": one["cache_read_input_tokens"],
            "cache_write": one["cache_creation_input_tokens"] - hour,
            "cache_write_1h": hour,
            "output": one["output_tokens"],
            **one["quantities"],
        }
        if not any(count and unit in rates for unit, count in counts.items()):
            assert priced.total is None or not any(counts.values())
            continue
        parts = [
            ("input",),
            ("cache_read",),
            ("cache_write", "cache_write_1h"),
            ("output",),
            ("audio_second",),
            ("web_search",),
        ]
        exact = sum(round(sum(counts.get(u, 0) * rates.get(u, Fraction(0)) for u in part)) for part in parts)
        assert priced.total == D(exact).scaleb(-12)


def test_no_token_is_billed_twice_where_cache_writes_are_audio() -> None:
    billed = call("openai", "gpt-realtime", input_tokens=1_000, cache_creation_input_tokens=900, audio_input_tokens=900)
    # 900 audio tokens at $32, the other 100 were written as text at $4, the million
    assert billed.total == (D(32) * 900 + D(4) * 100) / 1_000_000
