"""When a budget's levels are crossed: from a member's spend to incidents and their changes. Pure.

What stands at the end (`Standing`: spent, levels, where each was crossed) is a function of the spend alone, in whatever
order and pieces it came. What was said on the way (`Change`) is told once: an incident opens once for each budget,
member, period and level, however often the same spend is evaluated.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from streams.spend.budget import FULL, Budget
from streams.spend.budget_crossing import EPOCH, MINUTE, Crossing, Spend, crossings, holds, spent
from streams.spend.budget_period import BudgetPeriod
from streams.spend.money import percent

REVISION = 10**8
"""A revision's number is so often its count, and the crossing's minutes since the epoch."""

Word = Literal["opened", "escalated", "revised", "retracted", "resolved"]
State = Literal["open", "retracted", "resolved"]
Reason = Literal["spend", "terms", "period", "removed"]


@dataclass(frozen=True)
class Incident:
    """One level of a member's budget in one period, from its first crossing on.

    `told` is the `crossing.at` that was last published: it keeps the minute where the crossing, a day later, is known
    to the day only. `openings` and `revisions` count what was published; they make ids.
    """

    level: int
    state: State
    crossing: Crossing
    told: datetime
    openings: int = 1
    revisions: int = 0


@dataclass(frozen=True)
class Standing:
    """A member's budget in one period: `levels` are reached by what is `spent` of `limit` (picodollars)."""

    budget_id: str
    member: str
    period: BudgetPeriod
    limit: int
    spent: int
    levels: tuple[int, ...]
    incidents: tuple[Incident, ...] = ()

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that are open."""
        return tuple(incident for incident in self.incidents if incident.state == "open")

    @property
    def percent(self) -> str:
        """Spent of the limit, rounded down to two decimals."""
        return percent(self.spent, self.limit)


@dataclass(frozen=True)
class Change:
    """What is to be told about one level. Everything but `retracted`'s `at` and figures follows from the spend alone.

    `at`: event time of what caused it: the close of the minute (or earlier day) of the crossing, the period's end, or
    the `now` at which spend had fallen or the budget had changed. `spent`: the period's picodollars at that time.
    `again`: how often the level was opened before in the period.
    """

    what: Word
    reason: Reason
    budget_id: str
    member: str
    period: BudgetPeriod
    level: int
    limit: int
    spent: int
    crossed_at: datetime
    at: datetime
    again: int = 0
    revision: int = 0

    @property
    def incident(self) -> str:
        """The incident's key."""
        return f"budget/{self.budget_id}/{self.member}/{self.period.first}/{self.level}"

    @property
    def number(self) -> int:
        """The number in a revision's id: its count and what it says, the crossing's minute.

        The count alone would give two different revisions one id when a crash lies between them.
        """
        return self.revision * REVISION + (self.crossed_at - EPOCH) // MINUTE

    @property
    def id(self) -> str:
        """The alert's id: a function of what it is about."""
        if self.what == "revised":
            return f"{self.incident}/revised/{self.number}"
        return f"{self.incident}/{self.what}" + (f"/{self.again + 1}" if self.again else "")

    def contradicts(self, told: datetime) -> bool:
        """Whether an opening says another crossing than was last published about its incident, before a crash.

        The same day is no other crossing where this one is known to the day only.
        """
        if self.at - self.crossed_at == MINUTE:
            return self.crossed_at != told
        zone = self.period.zone
        return self.crossed_at.astimezone(zone).date() != told.astimezone(zone).date()

    def as_revision(self) -> "Change":
        """The opening as a revision of one that was published before a crash and that it contradicts."""
        return replace(self, what="revised")


def evaluate(
    budget: Budget,
    member: str,
    spend: Spend,
    period: BudgetPeriod,
    now: datetime,
    *,
    before: Standing | None = None,
    changed_from: datetime | None = None,
) -> tuple[Standing, list[Change]]:
    """The standing of a member's budget in one period, and what changed since `before`.

    Args:
        budget: as it is now; its terms may differ from those of `before`.
        member: '' for global.
        spend: absolute, not what was added.
        period: any; one that is over opens and resolves at once.
        now: event time, the watermark.
        before: what this function gave for the same budget, member and period; None: nothing was told yet.
        changed_from: the earliest instant whose spend may differ from what `before` was made of. It saves work and
            changes nothing; None: anything may differ.
    """
    limit, total = budget.limit_picos, spent(spend.daily, period)
    reached = tuple(level for level in budget.levels if total * 100 >= level * limit)
    known = {incident.level: incident for incident in before.incidents} if before else {}
    same_terms = before is not None and (before.limit, before.period) == (limit, period)
    crossed = {
        level: known[level].crossing
        for level in reached
        if before is not None and same_terms and level in before.levels and level in known
        if changed_from is not None and holds(known[level].crossing, spend.minute_day, changed_from)
    }
    if len(crossed) < len(reached):
        crossed = crossings(reached, limit, spend, period)

    over = period.over(now)
    incidents: dict[int, Incident] = {}
    changes: list[Change] = []

    def tell(what: Word, incident: Incident, reason: Reason) -> None:
        crossing = what in ("opened", "escalated", "revised")
        at = incident.crossing.told_at(now) if crossing else period.end if reason == "period" else now
        changes.append(
            Change(
                what, reason, budget.id, member, period, incident.level, limit,
                spent=incident.crossing.spent if crossing else total,
                crossed_at=incident.told, at=at, again=incident.openings - 1, revision=incident.revisions,
            )
        )  # fmt: skip

    for level in sorted({*budget.levels, *known}):
        incident = known.get(level)
        if level in reached:
            crossing = crossed[level]
            if incident is None or incident.state == "retracted" or (incident.state == "resolved" and not over):
                again = incident or Incident(level, "open", crossing, crossing.at, openings=0)
                incident = replace(
                    again, state="open", crossing=crossing, told=crossing.at, openings=again.openings + 1
                )
                # a lower level is reached whenever this one is; whether it is open yet hangs on the order of events
                tell("escalated" if level == FULL and len(reached) > 1 else "opened", incident, "spend")
            else:
                incident = replace(incident, crossing=crossing)
                if incident.state == "open" and _moved(incident, period):
                    incident = replace(incident, told=crossing.at, revisions=incident.revisions + 1)
                    tell("revised", incident, "spend" if same_terms else "terms")
        elif incident is not None and before is not None and _is_told_as_reached(incident, before, over):
            same_level = level in budget.levels and before.period == period
            if same_level and total * 100 < level * before.limit:
                incident = replace(incident, state="retracted")
                tell("retracted", incident, "spend")
            elif incident.state == "open":
                incident = replace(incident, state="resolved")
                tell("resolved", incident, "terms")
        if incident is not None:
            incidents[level] = incident
    if over:
        for level, incident in incidents.items():
            if incident.state == "open":
                incidents[level] = replace(incident, state="resolved")
                tell("resolved", incident, "period")
    return Standing(budget.id, member, period, limit, total, reached, tuple(incidents.values())), changes


def close(before: Standing, now: datetime, reason: Reason = "removed") -> tuple[Standing, list[Change]]:
    """Resolve what is open, for a budget that is gone or has another period."""
    changes = [
        Change(
            "resolved", reason, before.budget_id, before.member, before.period, incident.level, before.limit,
            before.spent, incident.told, now, again=incident.openings - 1, revision=incident.revisions,
        )
        for incident in before.open
    ]  # fmt: skip
    incidents = tuple(replace(i, state="resolved") if i.state == "open" else i for i in before.incidents)
    return replace(before, incidents=incidents), changes


def _moved(incident: Incident, period: BudgetPeriod) -> bool:
    """Whether the crossing is elsewhere than what was told; a minute that was told stands while its day does."""
    if incident.crossing.to_the_minute:
        return incident.told != incident.crossing.at
    return incident.told.astimezone(period.zone).date() != incident.crossing.day


def _is_told_as_reached(incident: Incident, before: Standing, over: bool) -> bool:
    """Whether people believe the level reached: it is open, or was when its period ended."""
    return incident.state == "open" or (incident.state == "resolved" and over and incident.level in before.levels)
