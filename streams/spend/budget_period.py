"""The period of a budget: which days belong to it and when it begins and ends. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from streams.periods import calendar, midnight
from streams.spend.budget import PeriodKind


@dataclass(frozen=True)
class BudgetPeriod:
    """The local days from `first` to before `after`; `start` and `end` are their midnights, UTC."""

    kind: PeriodKind
    first: date
    after: date
    zone: ZoneInfo

    @cached_property
    def start(self) -> datetime:
        """The first instant."""
        return midnight(self.first, self.zone)

    @cached_property
    def end(self) -> datetime:
        """The first instant that is not in it any more: when the budget begins anew."""
        return midnight(self.after, self.zone)

    def holds(self, day: date) -> bool:
        """Whether a local day belongs to it."""
        return self.first <= day < self.after

    def over(self, now: datetime) -> bool:
        """Whether it has ended."""
        return now >= self.end

    def days_left(self, now: datetime) -> int:
        """Local days from the one of `now` to the end, that one included; 0 when it is over."""
        return max((self.after - now.astimezone(self.zone).date()).days, 0)

    def day_start(self, day: date) -> datetime:
        """The start of a local day, UTC."""
        return _midnight(day, self.zone)

    def day_end(self, day: date) -> datetime:
        """The start of the day after it, UTC."""
        return _midnight(day + timedelta(days=1), self.zone)


@lru_cache(4096)
def period_of(kind: PeriodKind, day: date, zone: ZoneInfo) -> BudgetPeriod:
    """The period that a local day belongs to."""
    first, after = calendar(kind, day)
    return BudgetPeriod(kind, first, after, zone)


def period_at(kind: PeriodKind, instant: datetime, zone: ZoneInfo) -> BudgetPeriod:
    """The period that an instant lies in."""
    return period_of(kind, instant.astimezone(zone).date(), zone)


_midnight = lru_cache(4096)(midnight)
