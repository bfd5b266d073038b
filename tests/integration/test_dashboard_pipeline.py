"""Pipeline health: what the page and the alert rules make of the sink's reports."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from priced_rows import embedded_clickhouse, insert, row
from shown_pages import Found, Page, between

from clickhouse.client import connect
from clickhouse.health import write_health
from clickhouse.migrate import up
from clickhouse.progress import Progress, write_progress
from grafana.dashboards.pipeline import DASHBOARD
from grafana.panels import read_query
from streams.settings import Settings

pytestmark = pytest.mark.stack

END = datetime.now(UTC).replace(second=0, microsecond=0)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = between(END - timedelta(hours=1), END)
ALERTS = ("alert_no_progress", "alert_lag", "alert_dead_letters", "alert_unpriced")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("pipeline")) as settings:
        yield settings


@pytest.fixture
def conf(server: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings with a database of the test's own."""
    settings = server.model_copy(update={"clickhouse_database": re.sub(r"\W", "_", request.node.name)})
    up(connect(settings), settings, lambda: None)
    return settings


@pytest.fixture
def page(conf: Settings) -> Page:
    return Page.of(DASHBOARD, conf, conf.clickhouse_database)


def report(conf: Settings, at: datetime, end: int, **told: Any) -> None:
    """The sink's report on one partition; `end` is one beyond the last event."""
    partition = {"partition": 0, "block_log_id": "priced", "log_id": "usage", **told}
    write_health(connect(conf), conf, [Progress(**partition)], [end], at)


def alert(page: Page, name: str, minutes: int, end: datetime = END) -> Any:
    [[value]] = [list(found.values()) for found in page.query(read_query(name), between(end - minutes * MINUTE, end))]
    return value


def test_events_of_ten_minutes_worked_out_by_hand(conf: Settings, page: Page) -> None:
    """From 100 events to 700: 570 are rows, 24 repeats, 6 dead letters."""
    start = END - 10 * MINUTE
    report(conf, start - 5 * SECOND, 100, mark=99, rows=95, blocks=1, duplicates=4, dead_letters={"undecodable": 1})
    report(conf, start + MINUTE, 400, mark=399, rows=380, blocks=4, duplicates=16, dead_letters={"undecodable": 4})
    report(conf, END - MINUTE, 700, mark=699, rows=665, blocks=9, duplicates=28,
           dead_letters={"undecodable": 5, "contradiction": 2})  # fmt: skip
    span = between(start, END)
    [counts] = page.ask("pipeline_counts", span)
    assert counts["Events"] == 699 - 99
    assert (counts["Counted"], counts["Duplicates dropped"], counts["Dead letters"]) == (665 - 95, 28 - 4, 7 - 1)
    assert counts["Dead letters of all"] == 6 / 600
    for panel, column, total in (
        ("pipeline_events", "Counted", 570),
        ("pipeline_events", "Duplicates dropped", 24),
        ("pipeline_events", "Dead letters", 6),
        ("pipeline_inserts", "Blocks", 8),
    ):
        points = page.ask(panel, span, points=60)  # a step of ten seconds
        assert sum(point[column] for point in points) * 10 == pytest.approx(total)
    write_progress(page.client, Progress("priced", "usage", 0, 9, 699, 9, 9, dead_letters={"undecodable": 5}), END)
    assert page.ask("pipeline_dead_letters", span) == [
        {"Reason": "undecodable", "In this range": 5 - 1, "Ever": 5},
        {"Reason": "contradiction", "In this range": 2, "Ever": 0},
    ]
    assert alert(page, "alert_dead_letters", 10) == 6 * 100 / 600


def standing(conf: Settings, minutes: int) -> None:
    """Events come every 30 seconds; nothing has been counted for so long, up to END."""
    for half in range(60, -1, -1):
        at = END - half * MINUTE / 2
        end = 1_000 - half
        mark = end - 1 if half > 2 * minutes else 1_000 - 2 * minutes - 2
        report(conf, at, end, mark=mark, rows=mark + 1, event_time_max=int((at - 3 * SECOND).timestamp() * 1e6))


def test_lag_is_known_in_events_and_in_seconds(conf: Settings, page: Page) -> None:
    standing(conf, minutes=4)
    [now] = page.ask("pipeline_now", HOUR)
    assert (now["Events waiting"], now["The oldest waits"], now["Last report"]) == (2 * 4 + 1, 4 * 60, 0)
    assert max(point["Events waiting"] for point in page.ask("pipeline_lag", HOUR)) == 9
    seconds = [point["The oldest waits"] for point in page.ask("pipeline_lag_seconds", HOUR, points=1_000)]
    assert seconds[-9:] == [0, 30, 60, 90, 120, 150, 180, 210, 240]
    assert set(seconds[:-9]) == {0}
    behind = {point["Behind the clock"] for point in page.ask("pipeline_watermark", HOUR)}
    assert behind == {3}
    [partition] = page.ask("pipeline_partitions", HOUR)
    assert (partition["End of the log"], partition["Counted up to"], partition["Events waiting"]) == (1_000, 991, 9)
    [stall] = page.ask("pipeline_stalls", HOUR)
    assert (stall["Seconds"], stall["Stood at"], stall["Events waiting"]) == (4 * 60, 991, 9)
    assert alert(page, "alert_lag", 15) == 4 * 60


@pytest.mark.parametrize(("minutes", "stands"), [(0, 0), (4, 0), (5, 1), (20, 1)])
def test_no_progress_is_told_after_five_minutes_in_which_events_waited(
    conf: Settings, page: Page, minutes: int, stands: int
) -> None:
    standing(conf, minutes)
    assert alert(page, "alert_no_progress", 5) == stands


def test_no_progress_is_told_when_the_sink_says_nothing_and_not_when_nothing_comes(conf: Settings, page: Page) -> None:
    for minute in range(30):
        report(conf, END - minute * MINUTE, 500, mark=499, rows=500)
    assert alert(page, "alert_no_progress", 5) == 0
    assert alert(page, "alert_no_progress", 5, END + 4 * MINUTE) == 0
    assert alert(page, "alert_no_progress", 5, END + 6 * MINUTE) == 1
    assert page.ask("pipeline_stalls", HOUR) == []


def test_partitions_of_a_log_that_was_made_anew_are_forgotten(conf: Settings, page: Page) -> None:
    report(conf, END - 30 * MINUTE, 500, mark=99, block_log_id="old", log_id="old", partition=3)
    report(conf, END - MINUTE, 10, mark=9)
    [now] = page.ask("pipeline_now", HOUR)
    assert (now["Events waiting"], now["Partitions"]) == (0, 1)
    assert alert(page, "alert_no_progress", 5) == 0


def test_a_sink_that_was_replaced_and_reports_once_more_counts_nothing_twice(conf: Settings, page: Page) -> None:
    for seconds, mark in ((50, 99), (40, 199), (35, 99), (30, 299)):
        report(conf, END - seconds * SECOND, mark + 1, mark=mark, rows=mark + 1, dead_letters={"undecodable": mark})
    letters: Found = page.ask("pipeline_dead_letters", HOUR)
    assert all(0 <= each["In this range"] < 1_000 for each in letters)


def test_late_calls_fresh_calls_and_calls_without_a_price(conf: Settings, page: Page) -> None:
    late = [0, 9, 10, 59, 60, 299, 300, 3_599, 3_600, 86_399, 86_400]
    end = END - 30 * MINUTE
    rows = [
        row(n, end, Decimal(1) if n else None, record_time=(end + timedelta(seconds=seconds)).replace(tzinfo=None))
        for n, seconds in enumerate(late)
    ]
    insert(page.client, conf, rows, "log:0:0")
    assert {each["Came"]: each["Calls"] for each in page.ask("pipeline_late", HOUR)} == {
        "within 10 s": 2, "within a minute": 2, "within 5 minutes": 2, "within an hour": 2, "within a day": 2,
        "later": 1,
    }  # fmt: skip
    [point] = page.ask("pipeline_late_over_time", HOUR)
    assert (point["Over a minute late"], point["Over an hour late"]) == (4, 3)
    assert page.ask("pipeline_freshness", HOUR)
    [unpriced] = page.ask("pipeline_unpriced", HOUR)
    assert (unpriced["Model"], unpriced["Without a price"], unpriced["With a part of it"]) == ("gpt-4o", 1, 0)
    assert alert(page, "alert_unpriced", 60) == 1


@pytest.mark.parametrize("days", [1, 30, 5 * 365])
def test_an_empty_database_shows_nothing_and_raises_no_alarm(page: Page, days: int) -> None:
    found = page.every_panel(between(END - timedelta(days=days), END))
    assert all(rows == [] for rows in found.values())
    assert [alert(page, name, 15) or 0 for name in ALERTS] == [0, 0, 0, 0]


def test_one_report_is_enough_for_a_page(conf: Settings, page: Page) -> None:
    report(conf, END - MINUTE, 7, mark=6, rows=7)
    found = page.every_panel(HOUR)
    [now] = found["Where it is"]
    assert (now["Events waiting"], now["Last report"]) == (0, 60)
    assert [alert(page, name, 15) or 0 for name in ALERTS] == [0, 0, 0, 0]
