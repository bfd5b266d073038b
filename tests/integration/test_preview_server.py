"""The preview's API on the real engine: names and values in, rows out; whatever a value says, it stays a value."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from clickhouse_connect.driver.client import Client
from priced_rows import embedded_clickhouse, insert, row

from clickhouse import migrate
from clickhouse.client import connect, connect_reader
from grafana.preview_server import Preview
from streams.embedded import answers
from streams.errors import Unreachable
from streams.ports import free_port
from streams.settings import Settings

pytestmark = pytest.mark.stack

START = datetime(2026, 3, 1, tzinfo=UTC)
RANGE = {"from": int(START.timestamp() * 1000), "to": int((START + timedelta(days=2)).timestamp() * 1000)}
HOSTILE = [
    "'; DROP TABLE usage --",
    "\\",
    "\\' OR 1 = 1 --",
    "🧾 ☃",
    "x" * 300,
    "${other}",
    "$__timeFilter(",
    "$__dateFilter(time) OR 1 = 1) --",
    "$__conditionalAll(1, $member)",
    "a,b",
    "/* */ \n --",
    "",
]
FILTER = "$__conditionalAll(provider IN (${provider:singlequote}), $provider)"
COUNTED = "SELECT any(ifNull(workload, '')) AS member, count() AS calls FROM usage WHERE ifNull(workload, '') = "


def panel(number: int, title: str, *queries: str) -> dict[str, Any]:
    targets = [{"refId": chr(65 + at), "rawSql": sql} for at, sql in enumerate(queries)]
    return {"id": number, "title": title, "targets": targets}


DASHBOARD = {
    "uid": "test-page",
    "title": "A page",
    "tags": ["spendstream"],
    "panels": [
        panel(
            1,
            "Spend over time",
            f"SELECT $__timeInterval(time) AS time, sum(cost_total) AS cost, sum(calls) AS calls FROM usage_15m "
            f"WHERE $__timeFilter(time) AND {FILTER} GROUP BY time ORDER BY time",
        ),
        panel(
            2,
            "One member",
            COUNTED + "${member:singlequote}",
            COUNTED + "${member:sqlstring}",
            COUNTED + "'${member}'",
            COUNTED + "decodeURLComponent('${member:percentencode}')",
        ),
        {
            **panel(
                3,
                "Days",
                "SELECT toStartOfDay(time, '${tz}') AS day, toDateTime64(min(time), 3, 'Asia/Tokyo') AS first, "
                "CAST(NULL AS Nullable(DateTime)) AS never, toInt64(9007199254740993) AS large, 0.5 AS half "
                "FROM usage GROUP BY day ORDER BY day",
            ),
            "interval": "1d",
        },
        panel(
            4,
            "Not to be read",
            "SELECT * FROM system.grants",
            "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        ),
        panel(
            5,
            "Too much",
            "SELECT * FROM numbers(20001)",
            "SELECT sleepEachRow(0.5) FROM numbers(60) SETTINGS max_block_size = 1, max_execution_time = 1",
            "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage'), getSetting('readonly')",
        ),
        panel(6, "Writes", "INSERT INTO usage (id) VALUES ('x')", "DROP TABLE usage", "SELECT 1; SELECT 2"),
        panel(7, "Missing", "SELECT * FROM nowhere", "SELECT ${member:raw}"),
    ],
    "templating": {
        "list": [
            {"name": "tz", "type": "query", "query": "SELECT timezone FROM organisation"},
            {"name": "provider", "type": "query", "multi": True, "query": "SELECT DISTINCT provider FROM usage_15m"},
            {
                "name": "member",
                "type": "query",
                "query": {"rawSql": f"SELECT DISTINCT workload, upper(workload) FROM usage_15m WHERE {FILTER}"},
            },
            {"name": "kind", "type": "custom", "query": "Cost centre : team,workload"},
        ]
    },
    "annotations": {
        "list": [
            {
                "name": "Firsts",
                "target": {"rawSql": "SELECT min(u.time) AS time FROM usage AS u WHERE $__timeFilter(u.time)"},
            }
        ]
    },
}


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Page:
    """What a browser would ask."""

    port: int
    settings: Settings
    variables: dict[str, Any] = field(default_factory=lambda: {"tz": "UTC", "provider": ["$__all"], "member": "chat"})

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, **said: Any) -> Reply:
        return self.request("POST", path, json.dumps(said).encode(), **{"Content-Type": "application/json"})

    def query(self, number: int, ref: str = "A", points: int = 1000, **variables: Any) -> Reply:
        chosen = self.variables | variables
        question = {"dashboard": "test-page", "panel": number, "ref": ref, "maxDataPoints": points, **RANGE}
        return self.post("/api/query", **question, variables=chosen)

    def options(self, name: str, **variables: Any) -> Any:
        asked = self.post("/api/variable", dashboard="test-page", variable=name, variables=variables, **RANGE)
        assert asked.status == 200, asked.body
        return asked.json["options"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse")) as found:
        conf = found.model_copy(update={"timezone": "Asia/Kathmandu"})
        client = connect(conf)
        migrate.up(client, conf, lambda: None)
        rows = [
            row(at, START + timedelta(hours=at), Decimal("0.000000000001") * (at + 1), workload=member or None)
            for at, member in enumerate(HOSTILE)
        ]
        chats = [
            row(100 + at, START + timedelta(hours=at), Decimal("1.25"), workload="chat", provider="anthropic")
            for at in range(3)
        ]
        insert(client, conf, rows + chats, "once")
        yield conf


@pytest.fixture(scope="module")
def page(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "test-page.json").write_text(json.dumps(DASHBOARD))
    (folder / "index.html").write_text("<!doctype html><title>AI spend</title>")
    port, loop, up = free_port(), asyncio.new_event_loop(), threading.Event()
    runner: list[web.AppRunner] = []

    async def begin() -> None:
        runner.append(web.AppRunner(Preview(settings, folder).application(folder)))
        await runner[0].setup()
        await web.TCPSite(runner[0], "127.0.0.1", port).start()
        up.set()

    thread = threading.Thread(target=lambda: (loop.create_task(begin()), loop.run_forever()))
    thread.start()
    try:
        assert up.wait(20)
        yield Page(port, settings)
    finally:
        asyncio.run_coroutine_threadsafe(runner[0].cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)


@pytest.fixture
def client(settings: Settings) -> Client:
    return connect(settings)


def test_dashboards_are_told_as_they_are_provisioned(page: Page) -> None:
    told = [{"uid": "test-page", "title": "A page", "tags": ["spendstream"]}]
    assert page.request("GET", "/api/dashboards").json == told
    assert page.request("GET", "/api/dashboards/test-page").json == DASHBOARD
    assert page.request("GET", "/api/dashboards/..%2F..%2Fetc").status == 404
    assert page.request("GET", "/api/timezone").json == {"timezone": "Asia/Kathmandu"}


def test_every_address_of_a_dashboard_is_the_one_page(page: Page) -> None:
    for path in ("/d/test-page", "/d/test-page/", "/d/test-page/a-title?var-member=x", "/static/index.html"):
        assert b"<title>AI spend</title>" in page.request("GET", path).body
    front = page.request("GET", "/")
    assert (front.status, front.headers["Location"]) == (302, "/d/spend-overview/")
    assert page.request("GET", "/static/../test_preview_server.py").status == 404


def test_a_panel_has_its_rows_with_exact_money(page: Page) -> None:
    answer = page.query(1, points=4, provider=["anthropic"]).json  # two days by four points: steps of 12 hours
    assert [each["name"] for each in answer["meta"]] == ["time", "cost", "calls"]
    assert answer["data"] == [["2026-03-01 00:00:00", "3.75", "3"]]
    assert answer["rows"] == 1
    assert "INTERVAL 43200 second" in answer["sql"] and "provider IN ('anthropic')" in answer["sql"]
    everybody = page.query(1, points=1).json  # 3 times 1.25 and 1 + 2 + ... + 12 picodollars
    assert everybody["data"] == [["2026-03-01 00:00:00", "3.750000000078", "15"]]
    assert "1=1" in everybody["sql"]


def test_times_are_utc_whatever_zone_a_column_has(page: Page) -> None:
    answer = page.query(3, tz="Asia/Kathmandu").json  # a day there begins at 18:15 UTC
    assert answer["data"][0] == [
        "2026-02-28 18:15:00", "2026-03-01 00:00:00.000", None, "9007199254740993", 0.5,
    ]  # fmt: skip


@pytest.mark.parametrize("ref", ["A", "B", "C", "D"])
@pytest.mark.parametrize("member", HOSTILE)
def test_a_hostile_member_is_found_and_nothing_else(page: Page, client: Client, member: str, ref: str) -> None:
    answer = page.query(2, ref, member=member)
    assert answer.status == 200, answer.body
    assert answer.json["data"] == [[member, "1"]]
    assert client.command("SELECT count() FROM spend.usage") == len(HOSTILE) + 3


def test_a_hostile_filter_filters_and_no_more(page: Page) -> None:
    for value in HOSTILE[:-1]:  # the empty one is All, as in the plugin
        assert page.query(1, provider=[value]).json["data"] == []


def test_a_variable_has_the_options_of_its_query_or_of_its_list(page: Page) -> None:
    assert page.options("tz") == [{"text": "Asia/Kathmandu", "value": "Asia/Kathmandu"}]
    assert page.options("member", provider="anthropic") == [{"text": "CHAT", "value": "chat"}]
    assert page.options("kind") == [{"text": "Cost centre", "value": "team"}, {"text": "workload", "value": "workload"}]


def test_an_annotation_has_its_rows(page: Page) -> None:
    question = {"dashboard": "test-page", "annotation": "Firsts", "variables": {}, **RANGE}
    assert page.post("/api/annotation", **question).json["data"] == [["2026-03-01 00:00:00.000000"]]


@pytest.mark.parametrize(
    ("number", "ref", "status", "said"),
    [
        (4, "A", 502, "panel 4 (Not to be read), query A: "),
        (4, "B", 502, "Not enough privileges"),
        (5, "A", 502, "choose a shorter range or fewer members"),
        (6, "A", 502, "panel 6 (Writes), query A: "),
        (6, "B", 502, "panel 6 (Writes), query B: "),
        (6, "C", 502, "panel 6 (Writes), query C: "),
        (7, "A", 502, "spendstream migrate up makes the tables"),
        (7, "B", 400, "variable member: the format 'raw' has no place in a query"),
        (7, "C", 400, "panel 7 (Missing) has no query 'C'"),
        (99, "A", 400, "has no panel 99"),
    ],
)
def test_what_cannot_be_shown_is_told_with_what_mends_it(
    page: Page, number: int, ref: str, status: int, said: str
) -> None:
    answer = page.query(number, ref)
    assert answer.status == status, answer.body
    assert said in answer.json["error"]
    assert connect(page.settings).command("SELECT count() FROM spend.usage") == len(HOSTILE) + 3


def test_a_query_that_takes_too_long_is_ended(page: Page) -> None:
    answer = page.query(5, "B")
    assert answer.status == 504
    assert answer.json["error"].startswith("panel 5 (Too much), query B: Timeout exceeded: ")
    assert answer.json["error"].endswith(": choose a shorter range")
    assert page.query(5, "C").json["data"] == [[15, 2_000_000_000, 2]]


@pytest.mark.parametrize(
    "said",
    [
        {"sql": "SELECT 1"},
        {"panel": "1"},
        {"panel": None},
        {"from": -1},
        {"to": "now"},
        {"maxDataPoints": 0},
        {"variables": {"member": 7}},
        {"variables": {"member": {"$ne": ""}}},
        {"variables": ["member"]},
    ],
)
def test_anything_but_names_and_values_is_refused(page: Page, said: dict[str, Any]) -> None:
    question = {"dashboard": "test-page", "panel": 1, "ref": "A", "variables": page.variables, **RANGE}
    assert page.post("/api/query", **question).status == 200
    refused = page.post("/api/query", **question | said)
    assert refused.status == 400
    assert next(iter(said)) in refused.json["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"dashboard": "\\ud800"}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_question_is_refused(page: Page, body: bytes) -> None:
    refused = page.request("POST", "/api/query", body, **{"Content-Type": "application/json"})
    assert refused.status == 400
    assert refused.json["error"]


def test_a_body_without_bounds_is_refused(page: Page) -> None:
    assert page.query(1, member="x" * 300_000).status == 413


def test_other_web_sites_are_refused(page: Page) -> None:
    for headers in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:6080"}, {"Host": "[:"}, {"Host": ""}):
        assert page.request("GET", "/api/dashboards", **headers).status in (400, 403)
    for origin in ("http://evil.example", "null", "http://[::1"):
        assert page.request("GET", "/api/dashboards", Origin=origin).status == 403
    for host in ("localhost:6080", "[::1]:6080", "127.0.0.1"):
        assert page.request("GET", "/api/dashboards", Host=host).status == 200
    assert page.request("POST", "/api/query", b"{}", **{"Content-Type": "text/plain"}).status == 415


def test_nothing_is_cached_framed_or_loaded_from_elsewhere(page: Page) -> None:
    for path in ("/", "/d/test-page/", "/static/index.html", "/api/dashboards", "/api/dashboards/none", "/nowhere"):
        headers = page.request("GET", path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]  # so it is 'self', without eval or inline


def test_without_clickhouse_the_answer_says_so(page: Page, settings: Settings) -> None:
    nowhere = settings.model_copy(update={"clickhouse_url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(Unreachable, match="SPEND_CLICKHOUSE_URL"):
        connect_reader(nowhere, 2)
    stranger = settings.model_copy(update={"reader_user": "nobody"})
    with pytest.raises(Unreachable, match="refuses the user 'nobody': set SPEND_READER_USER and SPEND_READER_PASSWORD"):
        connect_reader(stranger, 2)


def test_the_command_serves_what_is_provisioned_and_ends_at_once(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "SPEND_PREVIEW_PORT": str(port), "SPEND_CLICKHOUSE_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "streams.cli", "preview"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not answers(f"http://127.0.0.1:{port}/ready"):
            assert process.poll() is None
        shown = Page(port, settings)
        assert {each["uid"] for each in shown.request("GET", "/api/dashboards").json} >= {"spend-overview"}
        unreachable = shown.request("GET", "/api/timezone")
        assert unreachable.status == 503
        assert "ClickHouse does not answer" in unreachable.json["error"]
        second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        assert (second.returncode, "SPEND_PREVIEW_PORT" in second.stderr) == (2, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
