"""What a page was asked for, and the calls that this is about."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from figures.calls import (
    EPOCH,
    UNATTRIBUTED,
    Call,
    Calls,
    cost,
    dearest,
    grouped,
    known_cost,
    named,
    near,
    tokens,
    unpriced,
)
from figures.topics import Topics
from streams.periods import midnight

FILTERS = ("provider", "model", "gateway", "team")
HOUR = timedelta(hours=1)

Answer = list[dict[str, Any]]
Chosen = dict[str, str | list[str]]


@dataclass(frozen=True)
class Asked:
    """A range, a time zone, what was chosen, and all there is to know.

    `calls` are all accepted calls; `step` is the width of a step of time in this panel.
    """

    calls: Calls
    topics: Topics
    start: datetime
    end: datetime
    zone: ZoneInfo
    chosen: Chosen
    step: timedelta

    @property
    def since(self) -> datetime:
        """The first quarter of an hour that has a call."""
        return min(call.quarter for call in self.calls)

    @property
    def today(self) -> date:
        """The day that the range's end lies in."""
        return self.end.astimezone(self.zone).date()

    @property
    def dimension(self) -> str:
        """The dimension asked for: of a member's pages, or what the explorer groups by."""
        asked = str(self.chosen.get("dimension", self.chosen.get("group_by", "")))
        return f"tags.{self.chosen['tag_key']}" if asked == "tag" else asked

    def within(self) -> Calls:
        """Calls of the quarters of an hour that begin in the range."""
        return [call for call in self.calls if self.start <= call.quarter <= self.end]

    def filtered(self) -> Calls:
        """Those of them that the filters let through."""
        return [call for call in self.within() if all(self._passes(call, name) for name in FILTERS)]

    @property
    def has_filter(self) -> bool:
        return any(self.chosen.get(name, ["$__all"]) != ["$__all"] for name in FILTERS)

    def _passes(self, call: Call, name: str) -> bool:
        wanted = self.chosen.get(name, ["$__all"])
        return wanted == ["$__all"] or named(call.member(name)) in wanted

    def mine(self, calls: Iterable[Call]) -> Calls:
        """Those of the member that was asked for."""
        member = str(self.chosen["member"])
        wanted = "" if member == UNATTRIBUTED else member
        if self.dimension == "global":
            return list(calls)
        return [call for call in calls if call.member(self.dimension) == wanted]

    def between(self, start: datetime, end: datetime) -> Calls:
        """Calls of quarters from `start` up to and without `end`."""
        return [call for call in self.calls if start <= call.quarter < end]

    def stepped(self, at: datetime) -> datetime:
        """The start of the step that an instant lies in."""
        return EPOCH + (at - EPOCH) // self.step * self.step

    def midnight(self, day: date) -> datetime:
        return midnight(day, self.zone)

    def hour(self, at: datetime) -> datetime:
        """The start of the hour as clocks show it, in UTC."""
        return at - timedelta(minutes=at.astimezone(self.zone).minute, seconds=at.second, microseconds=at.microsecond)

    def local_step(self, at: datetime) -> datetime:
        """The start of the hour, for ranges of two days at most, else of the day."""
        return (
            self.hour(at)
            if self.end - self.start <= timedelta(days=2)
            else self.midnight(at.astimezone(self.zone).date())
        )


def leaders_over_time(asked: Asked, calls: Calls, key: Callable[[Call], str], *, remainder: bool = False) -> Answer:
    """Cost by step of time of the ten members that cost most, and of the others together.

    `remainder`: what bears none is what is left of all calls, and so is there at each step that has any, if as nothing.
    """
    groups = grouped(calls, key)
    if remainder:
        groups.setdefault("", [])
    leaders = sorted(groups, key=lambda member: (-cost(groups[member]), member))[:10]
    points: dict[tuple[datetime, str], Calls] = grouped(
        calls,
        lambda call: (asked.local_step(call.quarter), named(key(call)) if key(call) in leaders else "(others)"),
    )
    if remainder:
        name = UNATTRIBUTED if "" in leaders else "(others)"
        for time in {time for time, _ in points}:
            points.setdefault((time, name), [])
    return [{"time": time, "name": name, "cost": cost(points[time, name])} for time, name in sorted(points)]


def members_table(calls: Calls, key: Callable[[Call], Any], columns: tuple[str, ...], limit: int) -> Answer:
    """Cost, share, calls, tokens and calls without a price by member, up to `limit`, and always what bears none.

    `key` gives a member, or as many names as there are columns; with several there is no member that bears none.
    """
    groups, whole = grouped(calls, key), cost(calls)
    if not calls:
        return []
    if len(columns) == 1:
        groups.setdefault("", [])
    order = dearest(groups)
    first = [each for each in order if each != ""][:limit]
    return [
        {
            **dict(zip(columns, (named(each),) if len(columns) == 1 else each, strict=True)),
            "Cost": known_cost(groups[each]),
            "Share": near(cost(groups[each]), whole),
            "Calls": len(groups[each]),
            "Tokens": tokens(groups[each]),
            "Unpriced": unpriced(groups[each]),
        }
        for each in order
        if each == "" or each in first
    ]


def utc(found: Any) -> Any:
    """Times of the engine as aware ones."""
    if not isinstance(found, datetime):
        return found
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
