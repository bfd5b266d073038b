"""The rate table: what it compiles, how it explains itself, and the reviewed corrections it stands on."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from priced_call import call, published_table, table_of

from streams.spend.explain import dollars, explain
from streams.spend.published import load_corrections
from streams.spend.rate_rows import RateRows
from streams.spend.rates import WEEK, RateKey, default_table, second_of_week


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_version_names_the_data_the_review_and_the_own_rates() -> None:
    plain = published_table().version
    assert plain.startswith("genai-prices 0.2.") and " + spendstream 2026-" in plain
    own = table_of({"id": "a", "discount_percent": "1"}).version
    assert own.startswith(plain + " + own ")
    assert own != table_of({"id": "a", "discount_percent": "2"}).version


def test_unit_rates_are_exact_picodollars() -> None:
    rates = published_table().unit_rates(RateKey("deepseek", "deepseek-v4-pro"), at("2026-05-01T00:00:00"))
    assert rates["cache_read"] == 3_625
    rates = published_table().unit_rates(RateKey("groq", "whisper-large-v3-turbo"), at("2026-05-01T00:00:00"))
    assert rates["audio_second"] == Fraction(40 * 10**9, 3_600)
    assert published_table().unit_rates(RateKey("openai", "gpt-9"), at("2026-05-01T00:00:00")) == {}


def test_unit_rates_know_the_size_of_the_request() -> None:
    key, moment = RateKey("openai", "gpt-5.4"), at("2026-05-01T00:00:00")
    assert published_table().unit_rates(key, moment, 272_000)["input"] == 2_500_000
    assert published_table().unit_rates(key, moment, 272_001)["input"] == 5_000_000


@pytest.mark.parametrize(
    "key",
    [
        RateKey("deepseek", "deepseek-v4-pro"),
        RateKey("deepseek", "deepseek-chat"),
        RateKey("openai", "gpt-5.6-luna", is_batch=True),
        RateKey("mistral_ai", "mistral-large-4", is_batch=True, region="eu"),
        RateKey("google", "gemini-4-argon", service_tier="priority"),
    ],
)
def test_a_plan_gives_at_every_hour_what_resolving_that_hour_gives(key: RateKey) -> None:
    table = published_table()
    plan = table.plan(key)
    moment = at("2024-05-01T00:00:00")
    while moment < at("2027-02-01T00:00:00"):
        seconds = int(moment.timestamp())
        segment = [s for s in plan if s.start <= seconds][-1]
        _, planned = [slot for slot in segment.slots if slot[0] <= second_of_week(seconds)][-1]
        resolved = table.resolve(key, moment)
        assert (planned.rate_id, planned.sheet) == (resolved.rate_id, resolved.sheet), moment
        moment += timedelta(hours=7, minutes=15)


def test_a_week_begins_on_monday() -> None:
    assert second_of_week(int(at("2026-11-02T00:00:00").timestamp())) == 0
    assert second_of_week(int(at("2026-11-01T23:59:59").timestamp())) == WEEK - 1


def test_rows_are_forgotten_beyond_their_capacity_and_prices_stay_right() -> None:
    rows = RateRows(published_table(), capacity=2)
    for model, picos in [("gpt-5", 1_250_000), ("gpt-5-mini", 250_000), ("gpt-4o", 2_500_000), ("gpt-5", 1_250_000)]:
        import numpy as np

        plans = rows.plan_ids([RateKey("openai", model)])
        located = rows.locate(plans, np.array([1_780_000_000]), np.array([10]))
        assert rows.rows[located]["rate_input"].to_list() == [picos]


# Explaining


def test_an_explanation_says_which_rate_and_why() -> None:
    table = table_of({"id": "ten", "provider": "openai", "discount_percent": "10"})
    answer = explain(table, RateKey("openai", "gpt-5-2025-08-07", is_batch=True), at("2025-12-01T00:00:00"))
    assert answer.rate_id == "ten on openai/gpt-5:batch"
    assert list(answer.steps) == [
        "served by the batch tier",
        "'gpt-5-2025-08-07' is the name 'gpt-5-2025-08-07'",
        "standard price of openai/gpt-5 on 2025-12-01 in the default data",
        "batch price in the default data, checked on 2026-10-14; before, its ratio to the standard price stands",
        "own rates ten on the published price",
    ]
    assert answer.as_json()["dollars_per_unit"]["input"] == "0.0000005625"
    assert "audio_input" in answer.unpriced


def test_an_explanation_of_what_has_no_price() -> None:
    answer = explain(published_table(), RateKey("openai", "gpt-5", service_tier="scale"), at("2026-01-01T00:00:00"))
    assert (answer.rate_id, dict(answer.rates)) == (None, {})
    assert answer.steps == ("the service tier 'scale' is committed capacity, billed apart",)


def test_dollars_are_exact() -> None:
    assert dollars(Fraction(1_250_000)) == "0.00000125"
    assert dollars(Fraction(3 * 10**12)) == "3"
    assert dollars(Fraction(40 * 10**9, 3_600)) == "1/90000"


def test_a_rate_id_names_provider_model_tier_and_region() -> None:
    assert call("openai", "gpt-5", input_tokens=1).rate_id == "openai/gpt-5"
    assert call("openai", "gpt-5", service_tier="flex", input_tokens=1).rate_id == "openai/gpt-5:flex"
    assert call("xai", "grok-4.7", region="us", input_tokens=1).rate_id == "x-ai/grok-4.7@us"
    assert call("azure", "gpt-5", is_batch=True, input_tokens=1).rate_id == "azure/gpt-5:batch"


# The reviewed corrections


def test_every_correction_has_one_id_a_source_a_reason_and_a_day() -> None:
    corrections = load_corrections()
    assert len({c.id for c in corrections}) == len(corrections) > 100
    for correction in corrections:
        assert all(source.startswith("https://") for source in correction.source), correction.id
        assert correction.why and date(2026, 1, 1) < correction.checked <= date(2026, 12, 31), correction.id
        assert correction.prices or correction.multiply or correction.same_as or correction.floors or correction.replace


def test_every_correction_is_about_a_model_that_exists_or_brings_its_own() -> None:
    from fnmatch import fnmatchcase

    from streams.spend.model_names import published_provider

    for correction in load_corrections():
        published = published_provider(correction.provider)
        assert published is not None, correction.id
        for pattern in correction.models:
            assert any(fnmatchcase(model.id, pattern) for model in published.models), (correction.id, pattern)


def test_the_default_data_agrees_where_nothing_is_corrected() -> None:
    # a new version of genai-prices that changes these is looked at by a person before it is used
    table, moment = default_table(), at("2026-11-15T12:00:00")
    for provider, model, price in [
        ("openai", "gpt-5", "1.25"),
        ("anthropic", "claude-opus-5-5", "4"),
        ("google", "gemini-2.5-pro", "1.25"),
        ("mistral", "mistral-medium-2508", "0.4"),
        ("groq", "llama-3.3-70b-versatile", "0.59"),
        ("x-ai", "grok-4.7", "2"),
        ("cohere", "command-a", "2.5"),
    ]:
        assert table.unit_rates(RateKey(provider, model), moment)["input"] == D(price) * 10**6
