"""Every panel of every dashboard shows the figures that follow from the events, worked out without SQL.

The demo's traffic goes through the pipeline's own functions into ClickHouse, and each event by itself through the
oracle; `figures` says what each panel must show of that.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asked_pages import POINTS, Page, engine, span
from clickhouse_connect.driver.client import Client
from figures import budgets, change, explorer, member, overview, pipeline, servers, traffic
from figures.asked import Asked, utc
from figures.calls import Calls
from figures.topics import BUDGETS, STATUSES, Topics, alerts, copy, deliveries

from grafana.build import FOLDER
from grafana.panel_query import interval
from grafana.panels import stable_id
from streams.settings import Settings

pytestmark = pytest.mark.stack

BERLIN, ST_JOHNS = ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")  # 3:30 behind, in summer 2:30
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
LAST_HOUR = (NOW - timedelta(hours=1), NOW)  # in which the sink reported
WEEKS = (traffic.END - 30 * DAY, traffic.END)  # with the changes of both clocks
HOURS = {  # forty hours around its change
    BERLIN: (datetime(2026, 10, 24, 5, 7, tzinfo=UTC), datetime(2026, 10, 25, 21, 7, tzinfo=UTC)),
    ST_JOHNS: (datetime(2026, 10, 31, 8, 40, tzinfo=UTC), datetime(2026, 11, 2, 0, 40, tzinfo=UTC)),
}
PAGES: dict[str, ModuleType] = {
    "spend-overview": overview,
    "spend-explorer": explorer,
    "spend-servers": servers,
    "spend-member": member,
    "spend-change": change,
    "spend-budgets": budgets,
    "spend-pipeline": pipeline,
}
PANELS = [(uid, panel) for uid, page in PAGES.items() for panel in page.FIGURES]


@dataclass(frozen=True)
class Known:
    """The database, and what the oracle and the topics say of it."""

    client: Client
    calls: Calls
    topics: Topics


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    judged, told = traffic.judged(NOW), alerts(traffic.END)
    with engine(tmp_path_factory.mktemp("figures")) as started:
        client = started.database("spend", [])
        traffic.fill(client, Settings(clickhouse_database="spend"), NOW)
        came = client.query("SELECT source_partition, source_offset, inserted_at FROM usage").result_rows
        inserted = {(partition, offset): utc(at) for partition, offset, at in came}
        topics = Topics(BUDGETS, STATUSES, told, deliveries(told), judged.reports, inserted)
        copy(client, topics)
        yield Known(client, judged.calls, topics)


def boards() -> dict[str, dict[str, Any]]:
    """The committed dashboards by their uids."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    return {board["uid"]: board for board in found}


def questions(page: Page, panel: str, figures: ModuleType, known: Known) -> Iterator[Asked]:
    """Everything that a panel is asked: each range, zone and choice."""
    [(least, sql)] = [
        (each.get("interval", ""), each["targets"][0]["rawSql"])
        for each in page.panels
        if each["id"] == stable_id(panel)
    ]
    for zone in (BERLIN, ST_JOHNS) if "${tz" in sql else (BERLIN,):  # else the SQL of both is the same
        for start, end in (WEEKS, HOURS[zone], LAST_HOUR)[: 3 if figures is pipeline else 2]:
            step = timedelta(milliseconds=interval(span(start, end), POINTS, least))
            for chosen in figures.CASES[panel]:
                yield Asked(known.calls, known.topics, start, end, zone, chosen, step)


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=[panel for _, panel in PANELS])
def test_a_panel_shows_what_follows_from_the_events(known: Known, uid: str, panel: str) -> None:
    page, figures = Page(uid, known.client), PAGES[uid]
    words = getattr(figures, "WORDS", {}).get(panel, ())
    shown = 0
    for asked in questions(page, panel, figures, known):
        expected = figures.FIGURES[panel](asked)
        found = page.ask(panel, asked.start, asked.end, tz=asked.zone.key, **asked.chosen)
        answer = [{column: utc(value) for column, value in row.items() if column not in words} for row in found]
        assert answer == expected, (asked.start, asked.end, asked.zone.key, asked.chosen)
        shown += len(expected)
    assert shown, "nothing was compared"


def test_every_panel_that_asks_something_has_figures_to_be_held_against() -> None:
    for uid, board in boards().items():
        asking = {
            panel["id"]: [each["refId"] for each in panel["targets"]] for panel in board["panels"] if "targets" in panel
        }
        assert asking == {stable_id(panel): ["A"] for panel in PAGES[uid].FIGURES}, uid


def test_the_traffic_has_every_fault_that_figures_could_stumble_over(known: Known) -> None:
    assert len(known.calls) == traffic.EVENTS
    assert any(call.unpriced for call in known.calls) and any(call.failed for call in known.calls)
    last = known.topics.reports[-1]
    assert last.repeats and last.dead and last.rows < last.done
    for dimension in ("workload", "customer", "team", "user", "gateway", "tags.cost_center"):
        members = {call.member(dimension) for call in known.calls}
        assert "" in members and len(members) > 1, dimension
