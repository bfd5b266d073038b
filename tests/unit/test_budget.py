"""What a budget may say, and what is refused by the field's name."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from streams.spend.budget import Budget, Terms, budgets_of, by_member, slug
from streams.spend.budget_period import period_at, period_of

ACME = {"name": "Acme monthly", "scope": "customer", "member": "acme", "limit_usd": "100.00"}
ZURICH = ZoneInfo("Europe/Zurich")


def budget(**changes: Any) -> Budget:
    terms = {**ACME, **changes}
    return Budget(id=slug(terms["name"]), created_at=datetime(2026, 11, 1, tzinfo=UTC), **terms)


def test_a_budget_is_a_month_with_a_warning_at_80_percent_unless_it_says_otherwise():
    said = Terms.model_validate(ACME)
    assert (said.period, said.thresholds, said.levels) == ("month", (80,), (80, 100))
    assert said.limit_picos == 100 * 10**12


def test_the_document_has_the_limit_as_a_string_and_the_instant_in_utc():
    assert budget(limit_usd="1e2").model_dump(mode="json") == {
        **ACME,
        "period": "month",
        "thresholds": [80],
        "id": "acme-monthly",
        "created_at": "2026-11-01T00:00:00Z",
    }


def test_a_document_read_again_is_the_same_budget():
    original = budget(limit_usd="0.000000000001", thresholds=[1, 50, 100], period="week")
    assert Budget.model_validate_json(original.model_dump_json()) == original
    assert original.limit_picos == 1 and original.levels == (1, 50, 100)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "預算"}, "name", "needs a letter"),
        ({"name": "a\tb"}, "name", "control characters"),
        ({"name": "\ud800"}, "name", "unicode"),
        ({"name": "x" * 101}, "name", "at most 100"),
        ({"scope": "planet"}, "scope", "'planet' is not a scope; the scopes are global, provider"),
        ({"scope": None}, "scope", "string"),
        ({"member": ""}, "member", "say which customer"),
        ({"member": 5}, "member", "string"),
        ({"member": "(other)"}, "member", "beyond a dimension's cap"),
        ({"scope": "global"}, "member", "has no members"),
        ({"scope": "tag"}, "member", "'acme' is not a tag such as env=prod"),
        ({"scope": "tag", "member": "=x"}, "member", "not a tag"),
        ({"period": "hour"}, "period", "the periods are day, week, month"),
        ({"limit_usd": "-1"}, "limit_usd", "above 0"),
        ({"limit_usd": 0}, "limit_usd", "above 0"),
        ({"limit_usd": "0.00"}, "limit_usd", "above 0"),
        ({"limit_usd": 99.9}, "limit_usd", "in quotes"),
        ({"limit_usd": True}, "limit_usd", "in quotes"),
        ({"limit_usd": None}, "limit_usd", "not an amount"),
        ({"limit_usd": "1_000"}, "limit_usd", "not an amount"),
        ({"limit_usd": "ten"}, "limit_usd", "not an amount"),
        ({"limit_usd": "NaN"}, "limit_usd", "not an amount"),
        ({"limit_usd": "1e999999999"}, "limit_usd", "at most"),
        ({"limit_usd": "0.0000000000001"}, "limit_usd", "more than 12 decimals"),
        ({"thresholds": [101]}, "thresholds", "101 is not a whole number of percent from 1 to 100"),
        ({"thresholds": [0]}, "thresholds", "0 is not"),
        ({"thresholds": [80.5]}, "thresholds", "80.5 is not"),
        ({"thresholds": ["80"]}, "thresholds", "'80' is not"),
        ({"thresholds": [True]}, "thresholds", "True is not"),
        ({"thresholds": [90, 80]}, "thresholds", "must ascend"),
        ({"thresholds": [80, 80]}, "thresholds", "each once"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(changes: dict[str, Any], field: str, said: str):
    with pytest.raises(ValidationError) as refused:
        Terms.model_validate({**ACME, **changes})
    first = refused.value.errors()[0]
    assert first["loc"] == (field,)
    assert said in first["msg"]


@pytest.mark.parametrize("missing", ["name", "scope", "limit_usd"])
def test_what_is_missing_is_named(missing: str):
    with pytest.raises(ValidationError) as refused:
        Terms.model_validate({field: value for field, value in ACME.items() if field != missing})
    assert refused.value.errors()[0]["loc"] == (missing,)


def test_an_id_is_made_of_the_letters_and_digits_of_the_name():
    assert slug("  Größe & Café: 2026/Q4! ") == "grosse-cafe-2026-q4"
    assert slug("--") == ""


def test_each_member_means_those_that_have_a_name():
    each, one, world = (
        budget(name="each", member="*"),
        budget(name="one"),
        budget(name="world", scope="global", member=""),
    )
    index = by_member([each, one, world])
    assert budgets_of(index, "customer", "acme") == (one, each)
    assert budgets_of(index, "customer", "globex") == (each,)
    assert budgets_of(index, "customer", "") == budgets_of(index, "customer", "(other)") == ()
    assert budgets_of(index, "global", "") == (world,)
    assert (each.status_key("globex"), one.status_key("acme")) == ("each/globex", "one")


@pytest.mark.parametrize(
    ("kind", "day", "first", "after"),
    [
        ("day", date(2026, 2, 28), date(2026, 2, 28), date(2026, 3, 1)),
        ("week", date(2026, 11, 29), date(2026, 11, 23), date(2026, 11, 30)),  # a Sunday
        ("week", date(2027, 1, 1), date(2026, 12, 28), date(2027, 1, 4)),
        ("month", date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        ("month", date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1)),
        ("quarter", date(2026, 3, 31), date(2026, 1, 1), date(2026, 4, 1)),
        ("quarter", date(2026, 11, 1), date(2026, 10, 1), date(2027, 1, 1)),
        ("year", date(2028, 1, 1), date(2028, 1, 1), date(2029, 1, 1)),
        ("year", date(2026, 12, 31), date(2026, 1, 1), date(2027, 1, 1)),
    ],
)
def test_periods_are_those_of_the_calendar(kind: Any, day: date, first: date, after: date):
    found = period_of(kind, day, ZURICH)
    assert (found.first, found.after) == (first, after)
    assert period_of(kind, found.after, ZURICH).first == after
    assert found.holds(first) and not found.holds(after)


def test_periods_begin_at_local_midnight_whatever_the_clocks_do():
    spring = period_at("day", datetime(2026, 3, 29, 12, tzinfo=UTC), ZURICH)  # clocks go forward
    assert (spring.start, spring.end) == (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC))
    autumn = period_at("month", datetime(2026, 10, 31, 23, 30, tzinfo=UTC), ZURICH)  # half past midnight on the 1st
    assert autumn.first == date(2026, 11, 1)
    assert autumn.start == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert autumn.days_left(datetime(2026, 11, 30, 22, 59, tzinfo=UTC)) == 1
    assert autumn.over(autumn.end) and not autumn.over(autumn.start)
