"""How a budget stands, as gateways and people read it, and whether a call may be made."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.openapi import document
from streams.spend.allow import allow
from streams.spend.budget import Budget, by_member
from streams.spend.budget_crossing import Spend
from streams.spend.budget_levels import evaluate
from streams.spend.budget_period import period_of
from streams.spend.budget_status import BudgetStatus, as_read, picos, status
from streams.spend.forecast import Forecast
from streams.spend.money import usd

ZURICH = ZoneInfo("Europe/Zurich")
DOLLAR = 10**12
DAY = date(2026, 11, 28)
NOON = datetime(2026, 11, 28, 11, tzinfo=UTC)
MONTH = period_of("month", DAY, ZURICH)


def budget(budget_id: str = "b", **changes: Any) -> Budget:
    terms: dict[str, Any] = {"scope": "customer", "member": "acme", "limit_usd": "100"}
    return Budget(id=budget_id, name=f"Budget {budget_id}", created_at=NOON, **{**terms, **changes})


def made(terms: Budget, dollars: int, member: str = "acme", forecast: Forecast | None = None) -> BudgetStatus:
    spend = Spend({DAY: dollars * DOLLAR}, DAY, {int(NOON.timestamp()): dollars * DOLLAR})
    return status(terms, evaluate(terms, member, spend, MONTH, NOON)[0], NOON, forecast)


def test_the_document_is_the_contract_with_gateways():
    spend = Spend({DAY: 81_257_899_999_999}, DAY, {int(NOON.timestamp()): 81_257_899_999_999})
    standing, _ = evaluate(budget(), "acme", spend, MONTH, NOON)
    path = tuple(picos * DOLLAR for picos in (82, 90, 95))
    steep = tuple(picos * DOLLAR for picos in (90, 110, 130))
    found = status(budget(), standing, NOON, Forecast(standing.spent, path, steep, 9), since=NOON).model_dump(
        mode="json"
    )
    assert json.loads(json.dumps(found)) == {
        "budget_id": "b",
        "name": "Budget b",
        "scope": "customer",
        "member": "acme",
        "period": "month",
        "period_start": "2026-10-31T23:00:00Z",
        "resets_at": "2026-11-30T23:00:00Z",
        "state": "warning",
        "spent_usd": "81.257899999999",
        "limit_usd": "100.00",
        "percent": "81.25",
        "levels": [80],
        "breach_p50": None,
        "breach_p90": "2026-11-29T11:00:00Z",  # 90 at the day's end, 110 a day later: half-way
        "forecast_p50_usd": "95.00",
        "forecast_p90_usd": "130.00",
        "forecast_trials": 9,
        "as_of": "2026-11-28T11:00:00Z",
        "since": "2026-11-28T11:00:00Z",
    }


@pytest.mark.parametrize(
    ("dollars", "state"), [(0, "ok"), (79, "ok"), (80, "warning"), (99, "warning"), (100, "exceeded")]
)
def test_states_follow_the_levels(dollars: int, state: str):
    assert made(budget(), dollars).state == state


def test_a_limit_that_is_reached_says_when_it_was():
    found = made(budget(), 100, forecast=Forecast(100 * DOLLAR, (100 * DOLLAR,), (100 * DOLLAR,), 9))
    assert found.breach_p50 == found.breach_p90 == NOON


def test_a_breach_after_the_periods_end_is_none():
    never = (100 * DOLLAR,) * 9  # longer than the period
    assert made(budget(), 10, forecast=Forecast(10 * DOLLAR, (11 * DOLLAR, *never), never, 9)).breach_p50 is not None
    late = (*((11 * DOLLAR,) * 5), 200 * DOLLAR)
    assert made(budget(), 10, forecast=Forecast(10 * DOLLAR, late, late, 9)).breach_p50 is None


@given(st.integers(-(10**27), 10**27))
def test_amounts_are_read_as_they_are_written(amount: int):
    assert picos(usd(amount)) == amount


def test_who_reads_after_the_period_takes_it_as_begun_anew():
    over = as_read(made(budget(), 100), budget(), MONTH.end, ZURICH)
    assert (over.state, over.spent_usd, over.percent, over.levels) == ("ok", "0.00", "0.00", ())
    assert (over.period_start, over.breach_p50) == (MONTH.end, None)
    before = as_read(made(budget(), 100), budget(), MONTH.end - timedelta(seconds=1), ZURICH)
    assert before.state == "exceeded"


def test_a_limit_that_was_changed_a_moment_ago_counts_at_once():
    found = as_read(made(budget(), 100), budget(limit_usd="400"), NOON, ZURICH)
    assert (found.state, found.percent, found.limit_usd, found.levels) == ("ok", "25.00", "400.00", ())
    other = as_read(made(budget(), 100), budget(period="week"), NOON, ZURICH)
    assert (other.state, other.spent_usd, other.period) == ("ok", "0.00", "week")
    assert other.resets_at == datetime(2026, 11, 29, 23, tzinfo=UTC)


# May a call be made?

ACME, EACH, WORLD, PROD = (
    budget("acme"),
    budget("each", scope="workload", member="*"),
    budget("world", scope="global", member="", period="day"),
    budget("prod", scope="tag", member="env=prod"),
)
INDEX = by_member([ACME, EACH, WORLD, PROD])
CALL = {"customer": "acme", "workload": "chat", "model": "gpt-5", "tag": ["team=x", "env=prod"]}


def verdict(statuses: dict[str, BudgetStatus], call: Any = None, now: datetime = NOON):
    return allow(statuses.get, INDEX, CALL if call is None else call, now)


def test_a_call_without_an_exceeded_budget_is_allowed():
    found = verdict({"acme": made(ACME, 99)})
    assert found.allowed and found.stopped_by == () and found.resets_at is None
    assert [(one.budget_id, one.state, one.percent) for one in found.warnings] == [("acme", "warning", "99.00")]


def test_an_exceeded_budget_stops_the_calls_of_its_member_alone():
    statuses = {"acme": made(ACME, 100)}
    stopped = verdict(statuses)
    assert not stopped.allowed
    assert [one.budget_id for one in stopped.stopped_by] == ["acme"]
    assert stopped.resets_at == MONTH.end
    assert verdict(statuses, {"customer": "globex"}).allowed
    assert verdict(statuses, {"workload": "acme"}).allowed
    assert verdict(statuses, {}).allowed


def test_a_budget_for_each_member_stops_those_over_it():
    statuses = {"each/chat": made(EACH, 120, "chat"), "each/search": made(EACH, 5, "search")}
    assert [one.member for one in verdict(statuses).stopped_by] == ["chat"]
    assert verdict(statuses, {"workload": "search"}).allowed
    assert verdict(statuses, {"workload": ""}).allowed


def test_global_and_tag_budgets_stop_what_bears_them():
    assert [
        one.budget_id
        for one in verdict({"world": made(WORLD, 100).model_copy(update={"period": "day"})}, {}).stopped_by
    ] == ["world"]
    statuses = {"prod": made(PROD, 100, "env=prod")}
    assert not verdict(statuses).allowed
    assert verdict(statuses, {"tag": ["env=dev"]}).allowed


def test_what_is_over_gone_or_of_other_terms_stops_nothing():
    assert verdict({"acme": made(ACME, 100)}, now=MONTH.end).allowed
    assert verdict({"gone": made(budget("gone"), 100)}).allowed
    changed = made(budget("acme", period="week"), 100)
    assert verdict({"acme": changed.model_copy(update={"period": "week"})}).allowed


def test_several_budgets_stop_until_the_last_has_begun_anew():
    day = made(WORLD, 100).model_copy(update={"period": "day", "resets_at": NOON + timedelta(hours=12)})
    found = verdict({"acme": made(ACME, 100), "world": day})
    assert [one.budget_id for one in found.stopped_by] == ["world", "acme"]
    assert found.resets_at == MONTH.end


# The OpenAPI document


def test_every_reference_of_the_openapi_document_is_there():
    text = json.dumps(document())
    schemas = document()["components"]["schemas"]
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(schemas)
    assert schemas["Terms"]["required"] == ["name", "scope", "limit_usd"]
    assert schemas["Terms"]["properties"]["limit_usd"]["type"] == "string"
    assert schemas["Terms"]["additionalProperties"] is False
    assert schemas["Budget"]["properties"]["limit_usd"]["type"] == "string"
    assert schemas["BudgetStatus"]["properties"]["resets_at"]["type"] == "string"
    assert "number" not in {each.get("type") for schema in schemas.values() for each in schema["properties"].values()}
