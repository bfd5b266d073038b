"""Standings as bytes: what a windows worker remembers of budgets across restarts. Pure.

JSON, one array a standing, so that another version can read it or refuse it; instants are seconds since the epoch.
"""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from streams.spend.budget_crossing import EPOCH, Crossing
from streams.spend.budget_levels import Incident, Standing
from streams.spend.budget_period import period_of

FORMAT = 1
_SECOND = timedelta(seconds=1)


def dump(standings: Iterable[Standing]) -> bytes:
    """The standings of one member's budget, for `load`."""
    return json.dumps([FORMAT, *map(_standing, standings)], separators=(",", ":")).encode()


def load(value: bytes, zone: ZoneInfo) -> tuple[Standing, ...]:
    """What `dump` was given; periods are those of `zone`.

    Raises:
        ValueError: it is not of this format.
    """
    version, *standings = json.loads(value)
    if version != FORMAT:
        raise ValueError(f"standings of format {version!r}, this version reads {FORMAT}")
    return tuple(_read(standing, zone) for standing in standings)


def _standing(standing: Standing) -> list[Any]:
    return [
        standing.budget_id,
        standing.member,
        standing.period.kind,
        standing.period.first.isoformat(),
        standing.limit,
        standing.spent,
        standing.levels,
        [_incident(incident) for incident in standing.incidents],
    ]


def _incident(incident: Incident) -> list[Any]:
    at = incident.crossing
    return [
        incident.level,
        incident.state,
        [_seconds(at.at), _seconds(at.closed), at.day.isoformat(), at.spent],
        _seconds(incident.told),
        incident.openings,
        incident.revisions,
    ]


def _read(raw: list[Any], zone: ZoneInfo) -> Standing:
    budget_id, member, kind, first, limit, spent, levels, incidents = raw
    return Standing(
        budget_id,
        member,
        period_of(kind, date.fromisoformat(first), zone),
        limit,
        spent,
        tuple(levels),
        tuple(_read_incident(incident) for incident in incidents),
    )


def _read_incident(raw: list[Any]) -> Incident:
    level, state, (at, closed, day, spent), told, openings, revisions = raw
    crossing = Crossing(_instant(at), _instant(closed), date.fromisoformat(day), spent)
    return Incident(level, state, crossing, _instant(told), openings, revisions)


def _seconds(instant: datetime) -> int:
    return (instant - EPOCH) // _SECOND


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
