"""What was told about budgets, from the alerts that are published, for who takes over after a crash. Pure.

Alerts leave before the state is saved. Whoever goes on from an older state tells the same again (known ids are left
out), but may meet the spend in other pieces, or a budget that was changed or deleted meanwhile: then an incident is
open for everybody but for it. So once it has caught up it takes in what was published, and `follow` revises, retracts
or resolves what differs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from streams.spend.budget import PeriodKind
from streams.spend.budget_crossing import Crossing
from streams.spend.budget_levels import REVISION, Incident, Standing, State
from streams.spend.budget_period import BudgetPeriod, period_at
from streams.spend.budget_status import picos

Key = tuple[str, str]
"""Budget id and member."""

_STATES: dict[str, State] = {
    "opened": "open",
    "escalated": "open",
    "revised": "open",
    "retracted": "retracted",
    "resolved": "resolved",
}


@dataclass
class _Told:
    period: BudgetPeriod
    limit: int
    spent: int
    incidents: dict[int, Incident] = field(default_factory=dict)


def published_standings(documents: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> dict[Key, tuple[Standing, ...]]:
    """The standings as published alerts tell them.

    Args:
        documents: CloudEvents of `spend.alerts` in their order; those of other types are passed over.
        zone: decides days.
    """
    told: dict[Key, dict[date, _Told]] = {}
    for document in documents:
        if str(document["type"]).startswith("spend.budget."):
            data = document["data"]
            key = (str(data["budget_id"]), str(data["member"]))
            _take(told.setdefault(key, {}), str(document["id"]), data, zone)
    return {key: tuple(_standing(key, periods[first]) for first in sorted(periods)) for key, periods in told.items()}


def remember(known: Iterable[Standing], published: Iterable[Standing]) -> tuple[Standing, ...]:
    """The standings of one member's budget with the incidents as they were published, to be given to `follow`.

    An incident stands as it was published, unless the known one has been told more of.
    """
    found = {standing.period.first: standing for standing in known}
    for told in published:
        own = found.get(told.period.first)
        if own is None:
            found[told.period.first] = told
            continue
        incidents = {incident.level: incident for incident in own.incidents}
        for incident in told.incidents:
            same = incidents.get(incident.level)
            if same is None or (same.openings, same.revisions) <= (incident.openings, incident.revisions):
                incidents[incident.level] = replace(incident, crossing=same.crossing) if same else incident
        states = {level: incident.state for level, incident in incidents.items()}
        levels = {level for level, state in states.items() if state == "open"} | {
            level for level in own.levels if states.get(level) != "retracted"
        }
        found[told.period.first] = replace(
            own, levels=tuple(sorted(levels)), incidents=tuple(incidents[level] for level in sorted(incidents))
        )
    return tuple(found[first] for first in sorted(found))


def _take(periods: dict[date, _Told], alert_id: str, data: Mapping[str, Any], zone: ZoneInfo) -> None:
    kind: PeriodKind = data["period"]
    period = period_at(kind, _instant(data["period_start"]), zone)
    told = periods.setdefault(period.first, _Told(period, 0, 0))
    told.period, told.limit, told.spent = period, picos(data["limit_usd"]), picos(data["spent_usd"])
    level, word, at = int(data["level"]), str(data["change"]), _instant(data["crossed_at"])
    # of a length of nothing: it is never taken for one that was computed
    crossing = Crossing(at, at, at.astimezone(zone).date(), told.spent)
    before = told.incidents.get(level) or Incident(level, "open", crossing, at)
    number = int(alert_id.removeprefix(f"{data['incident']}/{word}").removeprefix("/") or 1)
    openings = before.openings if word == "revised" else number
    revisions = max(before.revisions, number // REVISION) if word == "revised" else before.revisions
    told.incidents[level] = Incident(level, _STATES[word], crossing, at, openings, revisions)


def _standing(key: Key, told: _Told) -> Standing:
    incidents = tuple(told.incidents[level] for level in sorted(told.incidents))
    levels = tuple(incident.level for incident in incidents if incident.state != "retracted")
    return Standing(*key, told.period, told.limit, told.spent, levels, incidents)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
