"""Stretches of time that reports compare, in the organisation's time zone. Pure: "now" is an argument.

Rollups are kept per quarter of an hour in UTC, so a stretch that ends now ends with the quarter that is running; every
IANA zone has been whole quarters from UTC since 1972, so local midnights fall between two quarters.

The same stretch of the previous period has as many days from that period's first as this one has had, and ends at the
same time of day: on 10 May at 14:00, 1 to 10 April at 14:00. Where the previous period is too short for that (30 March
against February) it is the whole previous period.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)

TITLES: dict[str, str] = {
    "week_to_date": "week to date",
    "month_to_date": "month to date",
    "quarter_to_date": "quarter to date",
    "year_to_date": "year to date",
    "last_7_days": "last 7 days",
    "last_14_days": "last 14 days",
    "last_30_days": "last 30 days",
}


@dataclass(frozen=True)
class Stretch:
    """From `start`, inclusive, to `end`, exclusive; both aware, in UTC, on a quarter of an hour."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Period:
    """A stretch and the one that it is compared with."""

    name: str
    title: str
    stretch: Stretch
    previous: Stretch


def period(name: str, now: datetime, zone: ZoneInfo) -> Period:
    """The period of that name as of `now`.

    Args:
        name: a key of TITLES.
        now: aware.
        zone: decides days and months.

    Raises:
        KeyError: no such period.
    """
    title = TITLES[name]
    end = _quarter_after(now)
    if name.startswith("last_"):
        days = int(name.split("_")[1])
        start, before = _days_before(end, days, zone), _days_before(end, 2 * days, zone)
        return Period(name, title, Stretch(start, end), Stretch(before, start))
    today = now.astimezone(zone).date()
    first, previous_first = {
        "week_to_date": _weeks,
        "month_to_date": _months,
        "quarter_to_date": _quarters,
        "year_to_date": _years,
    }[name](today)
    start = midnight(first, zone)
    local_end = end.astimezone(zone)
    same_day = previous_first + (local_end.date() - first)
    previous_end = min(_instant(same_day, local_end.time(), zone), start)
    return Period(name, title, Stretch(start, end), Stretch(midnight(previous_first, zone), previous_end))


def calendar(kind: str, day: date) -> tuple[date, date]:
    """The first day of the `kind` (day, week, month, quarter, year) that a day lies in, and the first day of the next.

    Weeks begin on Monday.

    Raises:
        KeyError: no such kind.
    """
    of, longest = {
        "day": (lambda today: (today, today), 1),
        "week": (_weeks, 7),
        "month": (_months, 31),
        "quarter": (_quarters, 92),
        "year": (_years, 366),
    }[kind]
    first = of(day)[0]
    return first, of(first + timedelta(days=longest))[0]


def custom(first: date, last: date, zone: ZoneInfo) -> Period:
    """The days from `first` to `last`, both included, against as many days before them.

    Raises:
        ValueError: `last` is before `first`.
    """
    if last < first:
        raise ValueError(f"the last day, {last}, is before the first, {first}")
    days = last - first + timedelta(days=1)
    start, end = midnight(first, zone), midnight(last + timedelta(days=1), zone)
    title = f"{first} to {last}"
    return Period("custom", title, Stretch(start, end), Stretch(midnight(first - days, zone), start))


def _weeks(today: date) -> tuple[date, date]:
    monday = today - timedelta(days=today.weekday())
    return monday, monday - timedelta(days=7)


def _months(today: date) -> tuple[date, date]:
    first = today.replace(day=1)
    return first, (first - timedelta(days=1)).replace(day=1)


def _quarters(today: date) -> tuple[date, date]:
    first = date(today.year, (today.month - 1) // 3 * 3 + 1, 1)
    last_of_previous = first - timedelta(days=1)
    return first, date(last_of_previous.year, last_of_previous.month - 2, 1)


def _years(today: date) -> tuple[date, date]:
    return date(today.year, 1, 1), date(today.year - 1, 1, 1)


def _quarter_after(now: datetime) -> datetime:
    """The end of the quarter of an hour that `now` lies in."""
    since_epoch = now.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return datetime(1970, 1, 1, tzinfo=UTC) + (since_epoch // QUARTER + 1) * QUARTER


def _days_before(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same time of day, that many local days earlier."""
    local = instant.astimezone(zone)
    return _instant(local.date() - timedelta(days=days), local.time(), zone)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The start of the day as an instant in UTC, which where clocks jump at midnight is 01:00."""
    return _instant(day, time(), zone)


def _instant(day: date, time_of_day: time, zone: ZoneInfo) -> datetime:
    """UTC of a local time: one that the clocks skip is moved past the jump, of one that comes twice it is the first."""
    return datetime.combine(day, time_of_day.replace(fold=0), zone).astimezone(UTC)
