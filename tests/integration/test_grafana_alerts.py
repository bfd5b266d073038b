"""Grafana's alert rules: their queries on the engine as the plugin sends them, and when each fires."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from asked_pages import engine, span
from clickhouse_connect.driver.client import Client

from grafana.alert_rules import RULES, AlertRule
from grafana.macros import back_end

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC).replace(microsecond=0)  # reports are kept for 30 days
COLUMNS = ["recorded_at", "priced_log_id", "source_partition", "usage_end", "mark", "dead_letters"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with engine(tmp_path_factory.mktemp("alerts")) as started:
        yield started.database("alerts", [])


@pytest.fixture
def client(made: Client) -> Client:
    """Of a database with nothing in it."""
    for table in ("health", "usage_15m"):
        made.command(f"TRUNCATE TABLE {table}")
    return made


def firing(client: Client) -> dict[str, float]:
    """The rules whose number is above their limit, with the number, judged as Grafana does: A, then B."""
    found: dict[str, float] = {}
    for rule in RULES:
        query, comparison = rule.data()
        back = timedelta(seconds=query["relativeTimeRange"]["from"])
        rows = client.query(back_end(query["model"]["rawSql"], span(NOW - back, NOW), 60_000)).result_rows
        limit = comparison["model"]["conditions"][0]["evaluator"]["params"][0]
        for (number,) in rows:
            if number is not None and number > limit:
                found[rule.name] = number
    return found


def report(client: Client, minutes_ago: float, *, mark: int, end: int, partition: int = 0, dead: int = 0) -> None:
    """A sink's report: `mark` is the last offset that is counted, `end` the offset that the next event will get."""
    at = NOW - timedelta(minutes=minutes_ago)
    client.insert("health", [[at, "log", partition, end, mark, {"undecodable": dead} if dead else {}]], COLUMNS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_query_uses_nothing_that_only_a_page_has(rule: AlertRule):
    sql = rule.data()[0]["model"]["rawSql"]
    assert not re.search(r"\$\{|\$__(conditionalAll|adHocFilters|timeInterval|interval_s)", sql)


def test_an_empty_database_raises_no_alarm(client: Client):
    assert firing(client) == {}


def test_a_pipeline_that_keeps_up_raises_none(client: Client):
    for minute in range(20, -1, -1):
        report(client, minute, mark=1000 - minute * 10, end=1001 - minute * 10)
    assert firing(client) == {}


def test_an_idle_pipeline_raises_none(client: Client):
    for minute in range(20, -1, -1):
        report(client, minute, mark=1000, end=1001)
    assert firing(client) == {}


def test_events_that_wait_while_nothing_is_counted_are_no_progress_and_late(client: Client):
    for minute in range(20, -1, -1):
        report(client, minute, mark=1000, end=2000 - minute)
        report(client, minute, mark=500, end=501, partition=1)
    assert firing(client) == {"no_progress": 1, "lag": pytest.approx(15 * 60, abs=5 * 60)}


def test_a_sink_that_no_longer_reports_is_no_progress(client: Client):
    for minute in range(20, 6, -1):
        report(client, minute, mark=1000, end=1001)
    assert firing(client) == {"no_progress": 1}


@pytest.mark.parametrize(("dead", "fires"), [(10, False), (11, True)])
def test_more_than_one_dead_letter_of_a_hundred_fires(client: Client, dead: int, fires: bool):
    report(client, 10, mark=0, end=1)
    report(client, 5, mark=500, end=501, dead=dead // 2)
    report(client, 0, mark=1000, end=1001, dead=dead)
    assert firing(client) == ({"dead_letters": pytest.approx(1.1)} if fires else {})


def test_a_call_without_a_price_fires_for_an_hour(client: Client):
    old, recent = (NOW - timedelta(minutes=minutes) for minutes in (90, 30))
    for at, status, calls in ((old, "unpriced", 5), (recent, "priced", 7), (recent, "unpriced", 3)):
        client.insert("usage_15m", [[at, status, calls]], ["time", "pricing_status", "calls"])
    assert firing(client) == {"unpriced": 3}
