"""The sample's budgets: the same story on any day, and a live one that the incident exceeds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from streams.sample.budgets import live_budget, sample_budgets
from streams.sample.generator import generate
from streams.sample.live import Incident, LiveTraffic
from streams.sample.organisation import organisation
from streams.sample.spend import priced, sound
from streams.spend.budget import EACH, Budget
from streams.spend.budget_period import period_at

UTC_ZONE, ZURICH = ZoneInfo("UTC"), ZoneInfo("Europe/Zurich")


def percent_of_limit(budget: Budget, spend: pl.DataFrame, now: datetime, zone: ZoneInfo) -> list[Decimal]:
    """What each member of a budget has spent of its limit in the current period."""
    start = period_at(budget.period, now, zone).start.astimezone(UTC).replace(tzinfo=None)
    inside = spend.filter(pl.col("time") >= start)
    if budget.scope == "global":
        sums = [inside["picos"].sum()]
    elif budget.scope == "tag":
        key, value = budget.member.split("=")
        sums = [inside.filter(pl.col("tags").map.get(key) == value)["picos"].sum()]
    else:
        members = inside.group_by(budget.scope).agg(pl.col("picos").sum())
        sums = [picos for member, picos in members.iter_rows() if budget.limits(member)]
    return [Decimal(100) * picos / budget.limit_picos for picos in sums]


@pytest.mark.parametrize(
    "now, zone",
    [
        (datetime(2026, 11, 27, 6, 0, tzinfo=UTC), UTC_ZONE),
        (datetime(2026, 12, 1, 0, 5, tzinfo=UTC), UTC_ZONE),  # the month is five minutes old
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), UTC_ZONE),
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), ZURICH),  # where the year is half an hour old
        (datetime(2026, 11, 30, 4, 0, tzinfo=UTC), ZURICH),  # a Monday
        (datetime(2024, 1, 1, 4, 0, tzinfo=UTC), UTC_ZONE),  # every period is four hours old
    ],
    ids=str,
)
def test_one_budget_is_red_one_is_yellow_and_the_others_are_fine(now: datetime, zone: ZoneInfo) -> None:
    sample = generate(seed=1, end=now, events=60_000)
    spend = priced(sound(sample))
    budgets = [Budget.model_validate(document) for document in sample_budgets(sample, now, zone)]
    reached = {
        budget.name: [level for level in budget.levels if max(percent_of_limit(budget, spend, now, zone)) >= level]
        for budget in budgets
    }
    red, yellow = organisation().story.runaway.workload, organisation().story.rising
    for budget in budgets:
        if budget.member == red:
            assert reached[budget.name] == [50, 80, 100]
        elif budget.member == yellow:
            assert reached[budget.name] == [75]
        else:
            assert reached[budget.name] == []
    scopes = [(budget.scope, budget.member) for budget in budgets]
    assert {("global", ""), ("workload", red), ("customer", yellow), ("customer", EACH)} < set(scopes)
    assert "tag" in dict(scopes) and len({budget.id for budget in budgets}) == len(budgets) == 7
    assert all(budget.created_at == now for budget in budgets)


def test_the_same_sample_gives_the_same_budgets() -> None:
    now = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
    made: list[list[dict[str, Any]]] = [
        sample_budgets(generate(seed=2, end=now, events=5_000), now, UTC_ZONE) for _ in range(2)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("hour", [3, 14])
@pytest.mark.parametrize("rate, after", [(5, 60), (50, 600), (1_000, 10)])
def test_live_the_incident_exceeds_its_budget_within_two_minutes_and_usual_spend_does_not(
    rate: int, after: int, hour: int
) -> None:
    now = datetime(2026, 11, 27, hour, 0, tzinfo=UTC)
    budget = Budget.model_validate(live_budget(rate, after, now))
    traffic, incident = LiveTraffic(seed=5, now=now), Incident.after(after, rate)
    before = traffic.events(now, now + timedelta(seconds=after), rate * after)
    usual = priced(before).filter(pl.col("workload") == budget.member)["picos"].sum()
    assert usual < budget.limit_picos * 0.9
    until = now + timedelta(seconds=after + 120)
    during = priced(traffic.events(now, until, rate * 120, incident.due(after + 120)))
    assert usual + during.filter(pl.col("workload") == budget.member)["picos"].sum() > budget.limit_picos
