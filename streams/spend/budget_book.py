"""The budgets of one partition's members as the windows change: spend, standings, what changed, forecasts. Pure.

Kept are the days of every member that has a budget, and its minutes from the watermark's day on. Amounts are integers
of picodollars; earlier logs' days (`base`) are added, so that a budget knows the whole of its period.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from streams.spend import budget_memory
from streams.spend.budget import EACH, Budget, ByMember, budgets_of, by_member
from streams.spend.budget_course import current, follow
from streams.spend.budget_crossing import Spend, spent
from streams.spend.budget_levels import Change, Standing
from streams.spend.budget_period import period_at
from streams.spend.budget_status import BudgetStatus, status
from streams.spend.budget_told import Told, believed
from streams.spend.forecast import ONE, Forecast, Outlook, forecast, learn
from streams.spend.windows import DAY, MINUTE, QUARTER_HOUR, Windows

Member = tuple[str, str]
Days = dict[date, int]
_LEARN_DAYS = 120  # of closed days that a forecast learns from


@dataclass
class BudgetBook:
    """`owns` says whether a member's windows are in this partition. `seen`: the terms of each budget, and the watermark
    (seconds) at which they were first seen."""

    zone: ZoneInfo
    owns: Callable[[str, str], bool]
    base: Mapping[Member, Days] = field(default_factory=dict)
    base_until: int = 0  # seconds: the latest event of earlier logs; time does not begin anew with a log
    budgets: dict[str, Budget] = field(default_factory=dict)
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    standings: dict[tuple[str, str], tuple[Standing, ...]] = field(default_factory=dict)
    days: dict[Member, Days] = field(default_factory=dict)
    minutes: dict[Member, dict[date, dict[int, int]]] = field(default_factory=dict)
    _index: ByMember = field(default_factory=dict)
    _scopes: set[str] = field(default_factory=set)  # that have a budget
    _is_read: bool = False  # whether the days of all budgets were read from the windows
    _room: dict[tuple[str, str], int] = field(default_factory=dict)  # see `_fits`
    _day: date | None = None
    _outlooks: dict[tuple[Member, str], tuple[date, Outlook]] = field(default_factory=dict)

    def see(self, budgets: Mapping[str, Budget], watermark: int) -> None:
        """Remember since when these terms are there; what ended before is not judged by them."""
        for budget_id in self._gone(budgets):
            self.seen.pop(budget_id, None)
        for budget in budgets.values():
            terms = f"{budget.limit_picos} {budget.levels} {budget.period}"
            if self.seen.get(budget.id, ("", 0))[0] != terms:
                self.seen[budget.id] = (terms, max(watermark, self.base_until))

    def take_terms(self, budgets: Mapping[str, Budget], windows: Windows, watermark: int) -> list[Change]:
        """Take in budgets that are new, changed or gone, and judge the spend that is there by them."""
        self.see(budgets, watermark)
        watermark = max(watermark, self.base_until)
        changed = [b for b in budgets.values() if not self._is_read or self.budgets.get(b.id) != b]
        gone = self._gone(budgets)
        self.budgets = dict(budgets)
        self._is_read = True
        self._index = by_member(budgets.values())
        self._scopes = {scope for scope, _ in self._index}
        for unlimited in [known for known in self.days if not budgets_of(self._index, *known)]:
            self._drop(unlimited)  # its days are not kept up any more
        self._read(windows, {(b.scope, b.member) for b in changed})
        now = datetime.fromtimestamp(watermark, UTC)
        changes: list[Change] = []
        for key in [key for key in self.standings if key[0] in gone or key[0] not in budgets]:
            changes += self._follow(None, key, "", now)
        for budget in changed:
            for member in self._members(budget):
                changes += self._follow(budget, (budget.id, member), budget.scope, now)
        return changes

    def merge(self, touched: Mapping[str, pl.DataFrame], watermark: int) -> tuple[list[Change], set[tuple[str, str]]]:
        """Take in windows that changed.

        Returns:
            What is to be told, and the (budget id, member) whose status may have changed.
        """
        now = datetime.fromtimestamp(max(watermark, self.base_until), UTC)
        today = now.astimezone(self.zone).date()
        changed = self._take(touched, today)
        earliest = self._earliest(touched.get(QUARTER_HOUR))
        looked_at: set[tuple[str, str]] = set()
        changes: list[Change] = []
        if today != self._day:  # periods end and begin
            self._day = today
            self._room.clear()
            for by_day in self.minutes.values():
                for day in [day for day in by_day if day < today]:
                    del by_day[day]
            for budget in self.budgets.values():
                for member in self._members(budget):
                    changed.setdefault((budget.scope, member), {})
            for key in [key for key in self.standings if key[0] not in self.budgets]:
                self._follow(None, key, "", now)  # it is remembered until its period ends
        for (scope, member), days in changed.items():
            for budget in budgets_of(self._index, scope, member):
                key = (budget.id, member)
                looked_at.add(key)
                if self._fits(key, days, today):
                    continue
                first = earliest.get((scope, member))
                if first is not None and min(days, default=today) < first.astimezone(self.zone).date():
                    first = None  # a day changed whose quarters are gone
                changes += self._follow(budget, key, scope, now, days=days, changed_from=first)
        return changes, looked_at

    def statuses(self, keys: Iterable[tuple[str, str]], watermark: int) -> Iterator[tuple[str, BudgetStatus]]:
        """(status key, status) of budgets that are there."""
        now = datetime.fromtimestamp(max(watermark, self.base_until), UTC)
        for budget_id, member in sorted(keys):
            budget = self.budgets.get(budget_id)
            if budget is None or not budget.limits(member):  # it was about somebody else before
                continue
            period = period_at(budget.period, now, self.zone)
            standing = current(self.standings.get((budget_id, member), ()), period)
            if standing is not None:
                # what came since it was judged may only have been counted
                standing = replace(standing, spent=spent(self.days.get((budget.scope, member), {}), period))
                made = status(budget, standing, now, self._forecast(budget, member, standing, now))
                yield budget.status_key(member), made

    def all_keys(self) -> set[tuple[str, str]]:
        """Every (budget id, member) with a standing."""
        return set(self.standings)

    def has_reached(self, key: tuple[str, str]) -> bool:
        """Whether a (budget id, member) has reached a level."""
        return any(standing.levels for standing in self.standings.get(key, ()))

    def believe(self, told: Iterable[Told]) -> None:
        """Take for true what was told of this partition's members, where it is newer than what was put back.

        Whoever told it ended before he saved it. What is not so any more is withdrawn as terms are taken next.
        """
        for one in told:
            if self.owns(one.budget.scope, one.member):
                self.standings[one.key] = believed(self.standings.get(one.key, ()), one)

    def dump(self) -> dict[str, Any]:
        """What to keep across a restart, as JSON. A standing without incidents follows from the windows: it is only
        named."""
        mine = [b for b in self.budgets.values() if b.member == EACH or self.owns(b.scope, b.member)]
        return {
            "budgets": [budget.model_dump(mode="json") for budget in mine],
            "seen": {budget.id: self.seen[budget.id] for budget in mine},
            "standings": [
                [*key, budget_memory.dump(s for s in standings if s.incidents).decode()]
                for key, standings in self.standings.items()
            ],
        }

    def put_back(self, kept: Mapping[str, Any]) -> None:
        """What `dump` gave: the budgets too, so that one that is removed meanwhile is known to be gone."""
        self.budgets = {said["id"]: Budget.model_validate(said) for said in kept["budgets"]}
        self._is_read = False
        self.seen = {budget_id: (terms, at) for budget_id, (terms, at) in kept["seen"].items()}
        self.standings = {(b, m): budget_memory.load(value.encode(), self.zone) for b, m, value in kept["standings"]}

    def _gone(self, budgets: Mapping[str, Budget]) -> set[str]:
        """The ids of budgets that are there no more, or are about somebody else."""
        about = {b.id: (b.scope, b.member) for b in budgets.values()}
        return {b.id for b in self.budgets.values() if about.get(b.id) != (b.scope, b.member)}

    def _follow(
        self,
        budget: Budget | None,
        key: tuple[str, str],
        scope: str,
        now: datetime,
        *,
        days: Iterable[date] | None = None,
        changed_from: datetime | None = None,
    ) -> list[Change]:
        member, today = (scope, key[1]), now.astimezone(self.zone).date()
        daily = self.days.get(member, {})
        spend = Spend(daily, today, self.minutes.get(member, {}).get(today, {}))
        standings, changes = follow(
            budget,
            key[1],
            spend,
            now,
            self.zone,
            before=self.standings.get(key, ()),
            changed_days=daily if days is None else days,
            changed_from=changed_from,
            seen=self._since(key[0], budget),
        )
        if standings:
            self.standings[key] = standings
        else:
            self.standings.pop(key, None)
        self._room.pop(key, None)
        only = standings[0] if len(standings) == 1 else None
        if budget is not None and only is not None and not only.incidents and only.period.holds(today):
            self._room[key] = -(-budget.levels[0] * only.limit // 100) - only.spent
        return changes

    def _fits(self, key: tuple[str, str], grown: Mapping[date, int], today: date) -> bool:
        """Whether a member's spend changed today alone, of whose period nothing was told, and reaches no level.

        So it is with most changes of most members, and nothing else has to be looked at: `_room` has the picodollars
        left to the first level.
        """
        room = self._room.get(key)
        if room is None or grown.keys() != {today}:
            return False
        room -= grown[today]
        if room <= 0:
            return False
        self._room[key] = room
        return True

    def _since(self, budget_id: str, budget: Budget | None) -> datetime | None:
        """Periods that ended before this are not judged: by then the budget, or these terms of it, did not exist."""
        seen = self.seen.get(budget_id)
        since = [] if seen is None else [datetime.fromtimestamp(seen[1], UTC)]
        return max([*since, *([] if budget is None else [budget.created_at])], default=None)

    def _earliest(self, quarters: pl.DataFrame | None) -> dict[Member, datetime]:
        """The first quarter of an hour whose spend changed, of each member; a member whose quarters are gone is left
        out."""
        scopes = self._scopes
        if quarters is None or quarters.is_empty() or not scopes:
            return {}
        chosen = quarters.filter(pl.col("dimension").is_in(scopes))
        first = chosen.group_by("dimension", "member").agg(pl.col("start").min())
        instants = {start: datetime.fromtimestamp(start, UTC) for start in first["start"].unique()}
        return {(d, m): instants[start] for d, m, start in first.iter_rows()}

    def _members(self, budget: Budget) -> list[str]:
        if budget.member != EACH:
            return [budget.member] if self.owns(budget.scope, budget.member) else []
        return [member for scope, member in self.days if scope == budget.scope and budget.limits(member)]

    def _read(self, windows: Windows, wanted: set[Member]) -> None:
        """The days and minutes of members that have a budget for the first time."""
        scopes = {scope for scope, member in wanted if member == EACH}
        single = {(scope, member) for scope, member in wanted if member != EACH and (scope, member) not in self.days}
        if not scopes and not single:
            return
        whole = pl.col("dimension").is_in(scopes)
        named = pl.DataFrame(sorted(single), schema={"dimension": pl.String, "member": pl.String}, orient="row")
        for known, days in self.base.items():
            if known[0] in scopes or known in single:
                self.days.setdefault(known, dict(days))
        frames = {
            level: [
                part
                for frame in (chunk.frame for chunk in windows.chunks[level].values())
                for part in (frame.filter(whole), frame.filter(~whole).join(named, on=named.columns, how="semi"))
            ]
            for level in (DAY, MINUTE)
        }
        self._take({level: pl.concat(some) for level, some in frames.items() if some}, self._day)

    def _drop(self, member: Member) -> None:
        del self.days[member]
        self.minutes.pop(member, None)
        for key in [key for key in self._outlooks if key[0] == member]:
            del self._outlooks[key]

    def _take(self, touched: Mapping[str, pl.DataFrame], today: date | None) -> dict[Member, Days]:
        """Absolute sums of windows into days and minutes; of each budgeted member what the days grew by."""
        changed: dict[Member, Days] = {}
        scopes = self._scopes
        for key, day, _, picos in self._rows(touched.get(DAY), scopes):
            if budgets_of(self._index, *key):
                earlier = self.base.get(key, {})
                days = self.days.setdefault(key, dict(earlier))
                before, days[day] = days.get(day, 0), earlier.get(day, 0) + picos
                changed.setdefault(key, {})[day] = days[day] - before
        for key, day, start, picos in self._rows(touched.get(MINUTE), scopes):
            if key in self.days and (today is None or day >= today):
                self.minutes.setdefault(key, {}).setdefault(day, {})[start] = picos
        return changed

    def _rows(self, frame: pl.DataFrame | None, scopes: set[str]) -> Iterator[tuple[Member, date, int, int]]:
        """Member, local day, start and picodollars of the windows of those dimensions."""
        if frame is None or frame.is_empty() or not scopes:
            return
        chosen = frame.filter(pl.col("dimension").is_in(scopes))
        picos = chosen["cost_total"].to_physical().to_list()
        keys = chosen.select("dimension", "member", "start").iter_rows()
        days = {at: datetime.fromtimestamp(at, UTC).astimezone(self.zone).date() for at in chosen["start"].unique()}
        for (dimension, member, start), amount in zip(keys, picos, strict=True):
            yield (dimension, member), days[start], start, amount

    def _forecast(self, budget: Budget, member: str, standing: Standing, now: datetime) -> Forecast | None:
        daily, today = self.days.get((budget.scope, member), {}), now.astimezone(self.zone).date()
        period = standing.period
        if not daily or period.days_left(now) < 1:
            return None
        key = ((budget.scope, member), budget.period)
        known = self._outlooks.get(key)
        if known is None or known[0] != today:
            first = max(min(daily), today - timedelta(days=_LEARN_DAYS))
            closed = [daily.get(first + timedelta(days=n), 0) for n in range((today - first).days)]
            known = self._outlooks[key] = (today, learn(closed, period.days_left(now)))
        start, end = period.day_start(today), period.day_end(today)
        passed = int((now - start).total_seconds()) * ONE // int((end - start).total_seconds())
        return forecast(known[1], standing.spent, daily.get(today, 0), min(max(passed, 0), ONE))
