"""Where a member's spend crossed the levels of a budget, from its days and the present day's minutes. Pure.

Exact integers throughout; a crossing is a function of the sums alone, not of the order in which they grew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from streams.spend.budget_period import BudgetPeriod

MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Spend:
    """What one member has spent, picodollars.

    `daily`: per local day. `minutes`: of the one local day `minute_day`, by the minute's start in seconds since the
    epoch. Where the minutes do not sum to their day, what is missing counts from the day's start.
    """

    daily: Mapping[date, int]
    minute_day: date
    minutes: Mapping[int, int]


@dataclass(frozen=True)
class Crossing:
    """Where the period's spend first was at or over a level: at the close of a minute, or of an earlier day.

    `at` is the start of that minute or day, `closed` its end, UTC; `spent` the period's picodollars at that close.
    `day` is the local day.
    """

    at: datetime
    closed: datetime
    day: date
    spent: int

    @property
    def to_the_minute(self) -> bool:
        return self.closed - self.at == MINUTE

    def told_at(self, now: datetime) -> datetime:
        """Its close; of a day that has not ended yet, `now`."""
        return self.closed if self.to_the_minute else min(self.closed, max(now, self.at))


def spent(daily: Mapping[date, int], period: BudgetPeriod) -> int:
    """Picodollars of the period's days."""
    return sum(picos for day, picos in daily.items() if period.first <= day < period.after)


def crossings(levels: Sequence[int], limit: int, spend: Spend, period: BudgetPeriod) -> dict[int, Crossing]:
    """Where each level, ascending and reached in the end, was first crossed; one walk over the closes."""
    found: dict[int, Crossing] = {}
    waiting = [(level, -(-level * limit // 100)) for level in levels]  # the least whole picodollars that are at it
    total = 0

    def reach(at: datetime, closed: datetime, day: date) -> None:
        while waiting and total >= waiting[0][1]:
            found[waiting.pop(0)[0]] = Crossing(at, closed, day, total)

    for day in sorted(day for day in spend.daily if period.holds(day)):
        if not waiting:
            break
        start, end = period.day_start(day), period.day_end(day)
        if day != spend.minute_day:
            total += spend.daily[day]
            reach(start, end, day)
            continue
        total += spend.daily[day] - sum(spend.minutes.values())
        reach(start, start, day)
        for second, picos in sorted(spend.minutes.items()):
            total += picos
            if waiting and total >= waiting[0][1]:
                minute = EPOCH + timedelta(seconds=second)
                reach(minute, minute + MINUTE, day)
    return found


def holds(crossing: Crossing, minute_day: date, changed_from: datetime) -> bool:
    """Whether a crossing stands without a look at the spend: nothing changed before its close, same precision."""
    if crossing.closed == crossing.at:  # of a day whose minutes were not all there
        return False
    return crossing.to_the_minute == (crossing.day == minute_day) and changed_from >= crossing.closed
