"""What a windows worker learns from ClickHouse about logs before its own, whatever time zone they were counted in."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from priced_rows import embedded_clickhouse, row
from windows_by_hand import block, windows_of

from clickhouse.client import connect
from clickhouse.migrate import up
from schemas.priced import priced_arrow
from streams.settings import Settings
from streams.windows_start import Earlier

pytestmark = pytest.mark.stack

Call = tuple[datetime, str]
ZURICH, NEW_YORK = ZoneInfo("Europe/Zurich"), ZoneInfo("America/New_York")
CALLS = [
    (datetime(2026, 11, 1, 0, 30, tzinfo=ZURICH), "1.000000000001"),  # 31 October in New York
    (datetime(2026, 11, 1, 12, 0, tzinfo=ZURICH), "2.00"),
    (datetime(2026, 11, 2, 3, 14, tzinfo=ZURICH), "4.00"),  # 1 November in New York
]


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("earlier")) as conf:
        up(connect(conf), conf, lambda: None)
        yield conf


@pytest.fixture
def conf(clickhouse: Settings) -> Settings:
    """ClickHouse without windows."""
    connect(clickhouse).command("TRUNCATE TABLE spend.windows")
    return clickhouse


def count(conf: Settings, log_id: str, calls: Sequence[Call], zone: ZoneInfo, levels: Sequence[str] = ()) -> None:
    """The windows of these calls, as a windows worker in that zone publishes them; of some levels alone if said."""
    columns = dict.fromkeys(priced_arrow().names)
    rows = [
        {**columns, **row(number, at, Decimal(cost), log_id=log_id, workload="job")}
        for number, (at, cost) in enumerate(calls)
    ]
    windows = [window for window in windows_of(rows, zone) if not levels or window["level"] in levels]
    connect(conf).raw_insert("spend.windows", insert_block=block(windows), fmt="ArrowStream")


def days(conf: Settings, zone: str) -> dict[date, int]:
    """Picodollars of the workload by day, as a worker in that zone learns them."""
    earlier = Earlier(conf.model_copy(update={"timezone": zone}), "present")
    return earlier.days(0, 1)["workload", "job"]


def by_hand(calls: Sequence[Call], zone: str) -> dict[date, int]:
    found: Counter[date] = Counter()
    for at, cost in calls:
        found[at.astimezone(ZoneInfo(zone)).date()] += int(Decimal(cost) * 10**12)
    return dict(found)


@pytest.mark.parametrize("zone", ["Europe/Zurich", "America/New_York", "UTC", "Asia/Kathmandu", "Africa/Cairo"])
def test_what_was_spent_in_another_zone_counts_in_the_days_of_this_one(conf: Settings, zone: str) -> None:
    count(conf, "first", CALLS, ZURICH)
    count(conf, "second", CALLS, NEW_YORK)
    count(conf, "present", CALLS, ZURICH)
    assert days(conf, zone) == {day: 2 * picos for day, picos in by_hand(CALLS, zone).items()}


def test_zurichs_first_of_november_is_not_new_yorks_last_of_october(conf: Settings) -> None:
    count(conf, "first", CALLS, ZURICH)
    assert days(conf, "America/New_York") == {date(2026, 10, 31): 10**12 + 1, date(2026, 11, 1): 6 * 10**12}


def test_zones_whose_days_begin_together_and_end_apart_are_told_apart(conf: Settings) -> None:
    summer_time = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # begins in London at 01:00
    calls = [(summer_time, "1"), (summer_time + timedelta(hours=23), "2")]
    count(conf, "first", calls, ZoneInfo("UTC"))
    assert days(conf, "Europe/London") == {date(2026, 3, 29): 10**12, date(2026, 3, 30): 2 * 10**12}


def test_what_came_too_late_for_its_quarter_of_an_hour_counts_where_the_zone_is_the_same(conf: Settings) -> None:
    count(conf, "first", CALLS, ZURICH, levels=["day"])
    assert days(conf, "Europe/Zurich") == by_hand(CALLS, "Europe/Zurich")


def test_where_the_clocks_jump_over_midnight_the_day_begins_an_hour_later(conf: Settings) -> None:
    havana = datetime(2026, 3, 8, 1, 10, tzinfo=ZoneInfo("America/Havana"))  # the day's first hour is 01:00
    calls = [(havana, "1"), (havana + timedelta(days=1), "2")]
    count(conf, "first", calls, ZoneInfo("America/Havana"), levels=["day"])
    assert days(conf, "America/Havana") == by_hand(calls, "America/Havana")
