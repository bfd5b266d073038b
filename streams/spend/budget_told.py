"""Incidents of budgets as spend.alerts tells them: what stays of an owner who ended before he saved them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from streams.spend.budget import Budget
from streams.spend.budget_crossing import Crossing
from streams.spend.budget_levels import REVISION, Incident, Standing, State, Word
from streams.spend.budget_period import BudgetPeriod, period_at
from streams.spend.budget_status import picos

_STATES: Mapping[Word, State] = {
    "opened": "open",
    "escalated": "open",
    "revised": "open",
    "retracted": "retracted",
    "resolved": "resolved",
}


@dataclass(frozen=True)
class Told:
    """The last word about one level. `budget` is as the alert names it; its thresholds are not known."""

    budget: Budget
    member: str
    period: BudgetPeriod
    incident: Incident

    @property
    def key(self) -> tuple[str, str]:
        """The (budget id, member) that it is about."""
        return self.budget.id, self.member


def told(document: Mapping[str, Any], zone: ZoneInfo, before: Told | None) -> Told:
    """What is known after an alert about a budget.

    Args:
        document: of type spend.budget.*.
        zone: the organisation's.
        before: what was known of the same incident.
    """
    data = document["data"]
    crossed_at = datetime.fromisoformat(data["crossed_at"])
    crossing = Crossing(crossed_at, crossed_at, crossed_at.astimezone(zone).date(), picos(data["spent_usd"]))
    number = document["id"].removeprefix(f"{data['incident']}/{data['change']}").removeprefix("/")
    incident = before.incident if before is not None else Incident(data["level"], "open", crossing, crossed_at)
    incident = replace(incident, state=_STATES[data["change"]], crossing=crossing, told=crossed_at)
    if data["change"] == "revised":
        incident = replace(incident, revisions=int(number) // REVISION)
    else:
        incident = replace(incident, openings=int(number or 1))
    start = datetime.fromisoformat(data["period_start"])
    budget = Budget(
        id=data["budget_id"],
        name=data["name"],
        scope=data["scope"],
        member=data["member"],
        limit_usd=data["limit_usd"],
        period=data["period"],
        created_at=start,
    )
    return Told(budget, data["member"], period_at(data["period"], start, zone), incident)


def believed(standings: Sequence[Standing], one: Told) -> tuple[Standing, ...]:
    """The standings of one member's budget, by the start of their period, with an incident that was told and that they
    do not know, or know from an earlier opening."""
    by_first = {standing.period.first: standing for standing in standings}
    known = by_first.get(one.period.first)
    incidents = {incident.level: incident for incident in known.incidents} if known else {}
    level = one.incident.level
    if level in incidents and incidents[level].openings >= one.incident.openings:
        return tuple(standings)
    incidents[level] = one.incident
    reached = {level} if one.incident.state == "open" else set()
    levels = tuple(sorted(reached | set(known.levels if known else ())))
    limit, spent = one.budget.limit_picos, one.incident.crossing.spent
    standing = known or Standing(*one.key, one.period, limit, spent, levels)
    by_first[one.period.first] = replace(standing, levels=levels, incidents=tuple(incidents.values()))
    return tuple(by_first[first] for first in sorted(by_first))
