"""What a merge has to tell: budget levels crossed, anomalies, trends, models without a price, stalled partitions.

Decides nothing itself: the pure parts in `streams.spend` found it, this turns it into alerts, in the order of event
time, and leaves out what was published before. An alert's id is a function of what it is about, so publishing one
again after a crash would be harmless, and knowing the ids that are there makes it once.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from streams.spend import alert, trend
from streams.spend.alert import Alert, BudgetLevel, Origin
from streams.spend.anomaly import Finding, incident_id
from streams.spend.budget import Budget
from streams.spend.budget_levels import Change
from streams.spend.explained import Explained
from streams.spend.money import PICOS
from streams.spend.windows import Windows

TREND_DAYS = 14  # of the range, and of the one that it is compared with
_TREND_DIMENSIONS = ("workload", "customer", "team")
_TREND_FLOOR = 5 * PICOS
_TREND_LEAST = 20  # percent
_TREND_CHANCE = 0.02  # money-free: of so steady a rise without a trend
_ESCALATED = "escalated"

Explain = Callable[[str, str, Finding, float], Explained]
"""Why (dimension, member) has this finding. The last: when the explanations of its batch began (of time.monotonic)."""
IsPlanned = Callable[[str, str, datetime], bool]


@dataclass
class Alarms:
    """A partition's alerts. `published` holds the ids that are on the topic, `crossed` when each budget incident on it
    was last said to have been crossed."""

    zone: ZoneInfo
    published: set[str]
    crossed: dict[str, datetime]
    explain: Explain
    is_planned: IsPlanned
    trends_told: int = 0  # local midnight, seconds, up to which trends were looked for
    _names: dict[str, Budget] = field(default_factory=dict)

    def fresh(self, alerts: Iterable[Alert]) -> Iterator[Alert]:
        """Those that are not published; each counts as published once it was given, and before the next is made."""
        for each in alerts:
            if each.id not in self.published:
                self.published.add(each.id)
                yield each

    def of_budgets(self, changes: Iterable[Change], budgets: Mapping[str, Budget], origin: Origin) -> Iterator[Alert]:
        """Levels crossed, left again, and periods that ended."""
        self._names |= budgets
        for change in changes:
            told = self._of_budget(change, self._names[change.budget_id], origin)
            if change.what in ("opened", _ESCALATED) and told.id in self.published:
                said = self.crossed.get(change.incident)
                if said is None or not change.contradicts(said):
                    continue  # the same thing again, after a crash
                told = self._of_budget(change.as_revision(), self._names[change.budget_id], origin)
            if change.what not in ("retracted", "resolved"):
                self.crossed[change.incident] = change.crossed_at
            yield told

    def of_anomalies(self, found: Iterable[tuple[str, str, Finding]], origin: Origin) -> Iterator[Alert]:
        """Unusual spend, but for what was planned; an incident that nobody heard of neither grows nor ends.

        The explanations share the time there is for one: however many there are, whatever comes next waits no longer.
        """
        began = time.monotonic()
        for dimension, member, finding in found:
            is_told = f"{incident_id(dimension, member, finding)}/opened" in self.published
            if finding.change == "closed":
                if is_told:
                    yield alert.anomaly(origin, dimension, member, finding)
                continue
            if self.is_planned(dimension, member, datetime.fromtimestamp(finding.window, UTC)):
                continue
            first = finding if is_told else replace(finding, change="opened")
            if alert.anomaly(origin, dimension, member, first).id in self.published:
                continue  # to find out why it is takes a query
            why = self.explain(dimension, member, first, began)
            yield alert.anomaly(
                origin,
                dimension,
                member,
                first,
                explained_by=why.shares,
                split=why.split,
                details=why.details,
            )

    def of_unpriced(self, days: pl.DataFrame, origin: Origin) -> Iterator[Alert]:
        """Models whose calls are counted without a cost; `days`: the day windows that changed."""
        without = days.filter((pl.col("dimension") == "model") & (pl.col("unpriced_calls") > 0))
        for row in without.sort("start", "member").iter_rows(named=True):
            yield alert.unpriced(origin, row["member"], "", row["unpriced_calls"], row["start"])

    def of_trends(self, windows: Windows, watermark: int, origin: Origin) -> Iterator[Alert]:
        """Once a week, as a local Monday begins: members whose spend steadily rises or falls."""
        midnight = self._monday(windows, watermark)
        if midnight == self.trends_told or watermark <= 0:
            return
        self.trends_told = midnight
        days = [windows.local_midnight(midnight + 43_200 - back * 86_400) for back in range(2 * TREND_DAYS, 0, -1)]
        frames = {at: frame for at, frame in windows.days() if at in set(days)}
        if min(days) not in frames:
            return  # the range before is not known whole
        for dimension, member, daily in _daily(frames, days):
            found = trend.measure(member, daily, TREND_DAYS)
            steady = found.p_value < _TREND_CHANCE and abs(found.change) >= _TREND_FLOOR
            if steady and found.ratio is not None and abs(found.ratio) * 100 >= _TREND_LEAST:
                yield alert.trend(origin, dimension, found, TREND_DAYS, midnight)

    def trends_due(self, windows: Windows, watermark: int) -> int:
        """The watermark at which trends are looked for next. What comes late after it must not be in the windows yet:
        what is told would hang on how messages are cut into batches."""
        return self._monday(windows, watermark, weeks=1)

    def _monday(self, windows: Windows, at: int, weeks: int = 0) -> int:
        """Local midnight, seconds since 1970, at which the week of an instant began, or that of so many weeks later."""
        today = datetime.fromtimestamp(at, UTC).astimezone(self.zone).date()
        monday = today - timedelta(days=today.weekday()) + timedelta(weeks=weeks)
        return windows.local_midnight(int(datetime(*monday.timetuple()[:3], 12, tzinfo=self.zone).timestamp()))

    @staticmethod
    def of_stalls(stalls: Iterable[tuple[int, int, int, int]], at: int, origin: Origin) -> Iterator[Alert]:
        """Partitions with events waiting that nobody counts: (partition, mark, lag, seconds)."""
        for partition, mark, lag, seconds in stalls:
            yield alert.stalled(origin, at, partition=partition, mark=mark, lag=lag, seconds=seconds)

    @staticmethod
    def _of_budget(change: Change, budget: Budget, origin: Origin) -> Alert:
        level = BudgetLevel(
            budget_id=budget.id,
            name=budget.name,
            scope=budget.scope,
            member=change.member,
            period=change.period.kind,
            period_start=change.period.start,
            resets_at=change.period.end,
            level=change.level,
            limit=change.limit,
            spent=change.spent,
            crossed_at=change.crossed_at,
        )
        if change.what == "retracted":
            return alert.budget_retracted(origin, change.at, level, again=change.again, reason=change.reason)
        if change.what == "resolved":
            return alert.budget_resolved(origin, change.at, level, again=change.again, reason=change.reason)
        if change.what == "revised":
            return alert.budget_revised(origin, change.at, level, change.number)
        return alert.budget_opened(origin, change.at, level, escalated=change.what == _ESCALATED, again=change.again)


def crossings(documents: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    """When each budget incident was last said to have been crossed, of alerts in the order of their publication."""
    return {
        document["data"]["incident"]: datetime.fromisoformat(document["data"]["crossed_at"])
        for document in documents
        if document["type"] in ("spend.budget.warning", "spend.budget.exceeded")
    }


def _daily(frames: Mapping[int, pl.DataFrame], days: list[int]) -> Iterator[tuple[str, str, list[int]]]:
    """Picodollars a day of each member of the dimensions that trends are told of."""
    spent: dict[tuple[str, str], dict[int, int]] = {}
    for at, frame in frames.items():
        chosen = frame.filter(pl.col("dimension").is_in(_TREND_DIMENSIONS) & (pl.col("member") != ""))
        keys = chosen.select("dimension", "member").iter_rows()
        for key, picos in zip(keys, chosen["cost_total"].to_physical().to_list(), strict=True):
            spent.setdefault(key, {})[at] = picos
    for (dimension, member), by_day in sorted(spent.items()):
        yield dimension, member, [by_day.get(at, 0) for at in days]
