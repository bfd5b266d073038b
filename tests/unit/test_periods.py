from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.periods import TITLES, Period, Stretch, custom, period

ZURICH = ZoneInfo("Europe/Zurich")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Zurich",
        "America/New_York",
        "America/Havana",  # clocks go back from 01:00 to 00:00
        "Africa/Cairo",  # clocks jump at midnight
        "Asia/Kathmandu",  # 5:45 from UTC
        "Australia/Lord_Howe",  # half an hour of daylight saving
        "Pacific/Apia",
    )
]

instants = st.datetimes(datetime(2015, 1, 1), datetime(2060, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


def at(text: str, zone: ZoneInfo = ZURICH) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def local(found: Period, zone: ZoneInfo = ZURICH) -> list[str]:
    """Start, end, start before, end before, as clocks on the wall show them."""
    instants = (found.stretch.start, found.stretch.end, found.previous.start, found.previous.end)
    return [instant.astimezone(zone).strftime("%Y-%m-%d %H:%M") for instant in instants]


def test_month_to_date_is_compared_with_as_many_days_of_the_month_before() -> None:
    assert local(period("month_to_date", at("2026-05-10 14:05"), ZURICH)) == [
        "2026-05-01 00:00",
        "2026-05-10 14:15",
        "2026-04-01 00:00",
        "2026-04-10 14:15",
    ]


def test_a_shorter_month_before_counts_whole() -> None:
    found = period("month_to_date", at("2026-03-30 09:00"), ZURICH)
    assert local(found)[2:] == ["2026-02-01 00:00", "2026-03-01 00:00"]


def test_the_29th_of_march_of_a_leap_year_has_a_29th_of_february_before() -> None:
    found = period("month_to_date", at("2028-03-29 09:00"), ZURICH)
    assert local(found)[2:] == ["2028-02-01 00:00", "2028-02-29 09:15"]


def test_the_last_quarter_of_an_hour_of_a_month_still_belongs_to_it() -> None:
    found = period("month_to_date", at("2026-01-31 23:50"), ZURICH)
    assert local(found) == ["2026-01-01 00:00", "2026-02-01 00:00", "2025-12-01 00:00", "2026-01-01 00:00"]


def test_january_is_compared_with_december() -> None:
    found = period("month_to_date", at("2026-01-05 08:00"), ZURICH)
    assert local(found)[2:] == ["2025-12-01 00:00", "2025-12-05 08:15"]


def test_quarter_to_date_counts_days_from_the_quarters_first() -> None:
    # 15 May is day 45 of its quarter; so is 14 February, January having 31 days and April 30
    found = period("quarter_to_date", at("2026-05-15 12:00"), ZURICH)
    assert local(found) == ["2026-04-01 00:00", "2026-05-15 12:15", "2026-01-01 00:00", "2026-02-14 12:15"]


def test_a_quarter_of_92_days_is_compared_with_one_of_90_to_its_end() -> None:
    found = period("quarter_to_date", at("2026-06-30 12:00"), ZURICH)
    assert local(found)[2:] == ["2026-01-01 00:00", "2026-04-01 00:00"]


def test_year_to_date_counts_days_over_a_leap_day() -> None:
    # 1 March 2029 is day 60 of its year; day 60 of 2028 is 29 February
    found = period("year_to_date", at("2029-03-01 10:00"), ZURICH)
    assert local(found) == ["2029-01-01 00:00", "2029-03-01 10:15", "2028-01-01 00:00", "2028-02-29 10:15"]


def test_week_to_date_begins_on_monday() -> None:
    found = period("week_to_date", at("2026-11-22 10:00"), ZURICH)  # a Sunday
    assert local(found) == ["2026-11-16 00:00", "2026-11-22 10:15", "2026-11-09 00:00", "2026-11-15 10:15"]


def test_the_last_7_days_have_an_hour_less_when_clocks_go_forward() -> None:
    found = period("last_7_days", at("2026-03-31 10:00"), ZURICH)  # clocks went forward on the 29th
    assert local(found)[:2] == ["2026-03-24 10:15", "2026-03-31 10:15"]
    assert found.stretch.end - found.stretch.start == timedelta(days=7, hours=-1)
    assert found.previous.end - found.previous.start == timedelta(days=7)


def test_the_last_7_days_have_an_hour_more_when_clocks_go_back() -> None:
    found = period("last_7_days", at("2026-10-28 10:00"), ZURICH)  # clocks went back on the 25th
    assert found.stretch.end - found.stretch.start == timedelta(days=7, hours=1)


def test_a_day_whose_midnight_the_clocks_skip_begins_with_the_jump() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # 24 April 2026: 00:00 became 01:00
    found = custom(date(2026, 4, 24), date(2026, 4, 24), cairo)
    assert found.stretch == Stretch(datetime(2026, 4, 23, 22, tzinfo=UTC), datetime(2026, 4, 24, 21, tzinfo=UTC))


def test_a_day_whose_midnight_comes_twice_begins_with_the_first() -> None:
    havana = ZoneInfo("America/Havana")  # 1 November 2026: 01:00 became 00:00
    found = custom(date(2026, 11, 1), date(2026, 11, 1), havana)
    assert found.stretch.end - found.stretch.start == timedelta(hours=25)


def test_custom_days_are_compared_with_as_many_before() -> None:
    found = custom(date(2026, 11, 3), date(2026, 11, 9), ZURICH)
    assert local(found) == ["2026-11-03 00:00", "2026-11-10 00:00", "2026-10-27 00:00", "2026-11-03 00:00"]


def test_custom_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="before the first"):
        custom(date(2026, 11, 9), date(2026, 11, 3), ZURICH)


def test_an_unknown_period_is_refused() -> None:
    with pytest.raises(KeyError):
        period("fortnight", at("2026-11-09 00:00"), ZURICH)


@given(now=instants, zone=st.sampled_from(ZONES), name=st.sampled_from(sorted(TITLES)))
def test_every_period_holds_now_and_begins_after_the_one_before(now: datetime, zone: ZoneInfo, name: str) -> None:
    found = period(name, now, zone)
    assert found.stretch.start <= now < found.stretch.end <= now + timedelta(minutes=15)
    assert found.previous.start < found.previous.end <= found.stretch.start


@given(now=instants, zone=st.sampled_from(ZONES), name=st.sampled_from(sorted(TITLES)))
def test_every_edge_lies_between_two_quarters_of_an_hour(now: datetime, zone: ZoneInfo, name: str) -> None:
    found = period(name, now, zone)
    for edge in (found.stretch.start, found.stretch.end, found.previous.start, found.previous.end):
        assert edge.timestamp() % 900 == 0
        assert edge.tzinfo is UTC


@given(now=instants, zone=st.sampled_from(ZONES), name=st.sampled_from(["week_to_date", "month_to_date"]))
def test_the_stretch_before_is_as_long_but_for_clock_changes_and_short_months(
    now: datetime, zone: ZoneInfo, name: str
) -> None:
    found = period(name, now, zone)
    longer = (found.stretch.end - found.stretch.start) - (found.previous.end - found.previous.start)
    if found.previous.end < found.stretch.start:
        assert abs(longer) <= timedelta(hours=1)
    else:
        assert longer >= -timedelta(hours=1)


@given(first=st.dates(date(2015, 1, 1), date(2060, 1, 1)), days=st.integers(1, 400), zone=st.sampled_from(ZONES))
def test_custom_periods_of_neighbouring_days_leave_nothing_out(first: date, days: int, zone: ZoneInfo) -> None:
    last = first + timedelta(days=days - 1)
    found = custom(first, last, zone)
    parts = [custom(first + timedelta(days=n), first + timedelta(days=n), zone).stretch for n in range(days)]
    assert parts[0].start == found.stretch.start
    assert parts[-1].end == found.stretch.end
    assert all(one.end == other.start for one, other in pairwise(parts))
