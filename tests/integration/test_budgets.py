"""Budgets from outside: over HTTP on a real worker, on the command line, and as gateways see them on the topics."""

import http.client
import json
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from typer.testing import CliRunner

from clickhouse.client import connect
from clickhouse.restore_topics import restore_topics
from streams import compacted, topics
from streams.budgets import Duplicate, budget_json, create_budget, parse_budget, publish, topic_budgets
from streams.budgets_feed import BudgetsFeed, StatusFeed
from streams.cli import budgets as cli
from streams.errors import SpendError
from streams.planned import Planned, publish_planned, read_planned, withdraw
from streams.ports import free_port
from streams.settings import Settings
from streams.spend.budget import Budget
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack

DOCS = Path(__file__).parents[2] / "docs" / "budgets.md"
NOTHING = {topics.BUDGETS: 0, topics.PLANNED: 0}  # restored
ACME = {"name": "Acme monthly", "scope": "customer", "member": "acme", "limit_usd": "100.00"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    conf = Settings(state_dir=tmp_path_factory.mktemp("budgets"), partitions=1, session_timeout_seconds=2)
    with Stack(on_free_ports(conf), parts=("broker", "topics", "worker")) as stack:
        yield stack
        for name in ("worker", "broker"):
            stack.kill(name)


@pytest.fixture
def conf(stack: Stack) -> Iterator[Settings]:
    """The stack's settings, with no budget left over from another test."""
    yield stack.settings
    publish(stack.settings, dict.fromkeys(topic_budgets(stack.settings)))
    keys = compacted.values(stack.settings, topics.BUDGET_STATUS, bytes)
    compacted.put(stack.settings, topics.BUDGET_STATUS, dict.fromkeys(keys))


Answer = tuple[int, Any, http.client.HTTPMessage]


@pytest.fixture
def ask(conf: Settings) -> Callable[..., Answer]:
    def ask(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", conf.worker_web_port, timeout=10)
        try:
            sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, sent, headers if headers is not None else JSON if sent else {})
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text.startswith((b"{", b"[")) else text, response.headers
        finally:
            connection.close()

    return ask


@pytest.fixture
def run(conf: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`spendstream budgets WORDS` in this process: what it printed; raises what it raised."""
    monkeypatch.setattr(cli, "settings", lambda: conf)

    def run(*words: str) -> str:
        result = CliRunner(env={"COLUMNS": "100"}).invoke(cli.app, list(words))
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return run


def soon(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def status_of(budget: Budget, spent: str, state: str, **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    known = {
        "budget_id": budget.id, "name": budget.name, "scope": budget.scope, "member": budget.member,
        "period": budget.period, "period_start": (now - timedelta(days=1)).isoformat(),
        "resets_at": (now + timedelta(days=1)).isoformat(), "state": state, "spent_usd": spent,
        "limit_usd": str(budget.limit_usd), "percent": "0.00", "levels": [], "breach_p50": None, "breach_p90": None,
        "forecast_p50_usd": None, "forecast_p90_usd": None, "forecast_trials": 0, "as_of": now.isoformat(),
        "since": None,
    }  # fmt: skip
    return {**known, **changes}


def tell(conf: Settings, statuses: dict[str, dict[str, Any]]) -> None:
    compacted.put(conf, topics.BUDGET_STATUS, {key: json.dumps(each).encode() for key, each in statuses.items()})


def test_a_budget_lives_over_http(ask: Callable[..., Answer]) -> None:
    status, made, headers = ask("POST", "/api/budgets", ACME)
    assert status == 201 and headers["Location"] == "/api/budgets/acme-monthly"
    assert {field: made[field] for field in ACME} == ACME
    assert (made["id"], made["period"], made["thresholds"]) == ("acme-monthly", "month", [80])
    assert ask("GET", "/api/budgets")[:2] == (200, [made])
    assert ask("GET", "/api/budgets/acme-monthly")[:2] == (200, made)

    status, changed, _ = ask("PATCH", "/api/budgets/acme-monthly", {"limit_usd": "150.5"})
    assert (status, changed) == (200, {**made, "limit_usd": "150.50"})
    status, replaced, _ = ask("PUT", "/api/budgets/acme-monthly", {**changed, "name": "Acme", "period": "week"})
    assert (status, replaced) == (200, {**changed, "name": "Acme", "period": "week"})
    assert ask("GET", "/api/budgets/acme-monthly")[1] == replaced

    assert ask("DELETE", "/api/budgets/acme-monthly")[:2] == (204, b"")
    assert ask("GET", "/api/budgets")[1] == []
    for method, body in (("GET", None), ("PATCH", {"limit_usd": "1"}), ("PUT", ACME), ("DELETE", None)):
        status, said, _ = ask(method, "/api/budgets/acme-monthly", body)
        assert status == 404 and "there is no budget 'acme-monthly'" in said["error"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"limit_usd": "-1"}, "limit_usd"),
        ({"limit_usd": 0}, "limit_usd"),
        ({"limit_usd": "0.0000000000001"}, "limit_usd"),
        ({"scope": "planet"}, "scope"),
        ({"member": ""}, "member"),
        ({"scope": "global"}, "member"),
        ({"period": "hour"}, "period"),
        ({"thresholds": [101]}, "thresholds"),
        ({"thresholds": [0, 80]}, "thresholds"),
        ({"thresholds": [80, 80]}, "thresholds"),
        ({"name": "  "}, "name"),
        ({"colour": "red"}, "colour"),
        ({"id": "mine"}, "id"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(ask: Callable[..., Answer], changes: Any, field: str) -> None:
    status, said, _ = ask("POST", "/api/budgets", {**ACME, **changes})
    assert status == 422
    assert [error["field"] for error in said["errors"]] == [field]
    assert said["error"].startswith(f"{field}: ")
    assert ask("GET", "/api/budgets")[1] == []


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'"x"', b"\xff\xfe\xfd", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(ask: Callable[..., Answer], body: bytes) -> None:
    status, said, _ = ask("POST", "/api/budgets", body, JSON)
    assert status == 422 and "JSON" in said["error"]


def test_what_a_budget_is_about_stays(ask: Callable[..., Answer]) -> None:
    made = ask("POST", "/api/budgets", ACME)[1]
    for field, value in (("scope", "team"), ("member", "globex"), ("id", "other"), ("created_at", "2020-01-01")):
        status, said, _ = ask("PATCH", "/api/budgets/acme-monthly", {field: value})
        assert status == 422 and [error["field"] for error in said["errors"]] == [field]
    assert ask("GET", "/api/budgets")[1] == [made]


def test_a_name_is_taken_once_wherever_it_was_made(ask: Callable[..., Answer], stack: Stack) -> None:
    stack.run("budgets", "create", "Acme monthly", "--scope", "customer", "--member", "acme", "--limit", "5")
    for name in ("Acme monthly", "ACME MONTHLY", "Acme, monthly!"):
        status, said, _ = ask("POST", "/api/budgets", {**ACME, "name": name})
        assert status == 409 and [error["field"] for error in said["errors"]] == ["name"]
    with pytest.raises(SpendError, match="ended with 2: spendstream: name: there is a budget 'Acme monthly' already"):
        stack.run("budgets", "create", "acme Monthly", "--limit", "5")
    ask("POST", "/api/budgets", {**ACME, "name": "Other"})
    status, said, _ = ask("PATCH", "/api/budgets/other", {"name": "acme monthly"})
    assert status == 409 and said["errors"][0]["field"] == "name"
    assert ask("PATCH", "/api/budgets/other", {"name": "OTHER"})[0] == 200


def test_of_two_made_at_the_same_time_one_stands(conf: Settings) -> None:
    barrier, made, refused = threading.Barrier(4), [], []

    def create(limit: int) -> None:
        barrier.wait()
        try:
            made.append(create_budget(conf, {**ACME, "limit_usd": str(limit)}, datetime.now(UTC)))
        except Duplicate as exc:
            refused.append(exc)

    threads = [threading.Thread(target=create, args=(limit,)) for limit in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(refused) == 3
    assert topic_budgets(conf) == {"acme-monthly": made[0]}


def test_a_change_is_seen_by_others_within_a_second(conf: Settings, ask: Callable[..., Answer]) -> None:
    feed = BudgetsFeed(conf)
    try:
        before = feed.budgets
        ask("POST", "/api/budgets", ACME)
        assert soon(lambda: "acme-monthly" in feed.budgets)
        assert feed.budgets is not before
        assert [budget.id for budget in feed.index["customer", "acme"]] == ["acme-monthly"]
        ask("PATCH", "/api/budgets/acme-monthly", {"limit_usd": "7"})
        assert soon(lambda: feed.budgets["acme-monthly"].limit_picos == 7 * 10**12)
        ask("DELETE", "/api/budgets/acme-monthly")
        assert soon(lambda: feed.budgets == {})
        assert soon(lambda: feed.index == {})
    finally:
        feed.close()


def test_a_record_that_is_no_budget_is_left_out(conf: Settings, ask: Callable[..., Answer]) -> None:
    compacted.put(conf, topics.BUDGETS, {"bad": b"{", "worse": b'{"id": "worse", "limit_usd": "-1"}'})
    try:
        assert ask("POST", "/api/budgets", ACME)[0] == 201
        assert [budget["id"] for budget in ask("GET", "/api/budgets")[1]] == ["acme-monthly"]
        assert list(topic_budgets(conf)) == ["acme-monthly"]
    finally:
        compacted.put(conf, topics.BUDGETS, dict.fromkeys(["bad", "worse"]))


def test_pages_of_other_origins_change_nothing(conf: Settings, ask: Callable[..., Answer]) -> None:
    body = json.dumps(ACME).encode()
    assert ask("POST", "/api/budgets", body, {"Content-Type": "text/plain"})[0] == 415
    assert ask("POST", "/api/budgets", body, {**JSON, "Origin": "https://evil.example"})[0] == 403
    assert ask("POST", "/api/budgets", body, {**JSON, "Host": "evil.example"})[0] == 403
    _, _, headers = ask("GET", "/api/budgets", None, {"Origin": "https://evil.example"})
    assert not [name for name in headers if name.lower().startswith("access-control")]
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    status, _, headers = ask("OPTIONS", "/api/budgets/acme-monthly", None, asked)
    assert status == 405 and not [name for name in headers if name.lower().startswith("access-control")]
    assert topic_budgets(conf) == {}


def test_a_worker_that_others_can_reach_wants_a_token(stack: Stack, ask: Callable[..., Answer]) -> None:
    port = free_port()
    own = {
        "SPEND_WORKER_WEB_PORT": str(port), "SPEND_STATE_DIR": str(stack.settings.state_dir / "open"),
        "SPEND_WEB_HOST": "0.0.0.0",
    }  # fmt: skip

    def post(headers: dict[str, str]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/api/budgets", json.dumps(ACME), {**JSON, **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def up() -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/api/budgets")
            return connection.getresponse().status == 200
        except OSError:
            return False

    for number, token in enumerate(["", "geheim"]):
        words = [f"{name}={value}" for name, value in {**own, "SPEND_API_TOKEN": token}.items()]
        name = f"open-{number}"
        stack.spawn(name, "/usr/bin/env", *words, sys.executable, "-m", "streams.cli", "worker")
        try:
            assert soon(up, 30)
            if not token:
                status, said = post({})
                assert status == 403 and "set SPEND_API_TOKEN" in said["error"]
            else:
                assert post({})[0] == post({"Authorization": "Bearer falsch"})[0] == 401
                assert post({"Authorization": "Bearer geheim"})[0] == 201
        finally:
            stack.kill(name)


def test_gateways_are_told_to_stop_and_to_go_on(conf: Settings, ask: Callable[..., Answer]) -> None:
    acme = parse_budget(json.dumps(ask("POST", "/api/budgets", ACME)[1]).encode())
    each = {"name": "Each", "scope": "workload", "member": "*", "limit_usd": "10"}
    budget = parse_budget(json.dumps(ask("POST", "/api/budgets", each)[1]).encode())
    tell(conf, {
        "acme-monthly": status_of(acme, "99.99", "warning", levels=[80]),
        "each/chat": status_of(budget, "10.00", "exceeded", member="chat", levels=[80, 100]),
        "gone": status_of(acme, "500.00", "exceeded", budget_id="gone"),
    })  # fmt: skip

    def allow(**call: Any) -> dict[str, Any]:
        status, verdict, headers = ask("GET", f"/api/allow?{urlencode(call, doseq=True)}")
        assert status == 200 and headers["Cache-Control"] == "no-store"
        return dict(verdict)

    assert soon(lambda: not allow(workload="chat")["allowed"])
    assert [one["member"] for one in allow(workload="chat", customer="acme")["stopped_by"]] == ["chat"]
    assert [one["percent"] for one in allow(customer="acme")["warnings"]] == ["99.99"]
    assert allow(customer="acme", tag=["a=b", "c=d"])["allowed"] and allow()["allowed"]

    shown = {status["budget_id"]: status for status in ask("GET", "/api/budget-status")[1]}
    assert set(shown) == {"acme-monthly", "each"}
    assert (shown["each"]["state"], shown["each"]["percent"]) == ("exceeded", "100.00")

    tell(conf, {"acme-monthly": status_of(acme, "100.00", "exceeded", levels=[80, 100])})
    assert soon(lambda: not allow(customer="acme")["allowed"])
    stopped = allow(customer="acme")
    assert stopped["resets_at"] == stopped["stopped_by"][0]["resets_at"]
    ask("PATCH", "/api/budgets/acme-monthly", {"limit_usd": "200"})  # frees calls before anyone evaluates it
    assert allow(customer="acme")["allowed"]

    over = datetime.now(UTC) - timedelta(seconds=1)
    tell(conf, {"each/chat": status_of(budget, "10.00", "exceeded", member="chat", resets_at=over.isoformat())})
    assert soon(lambda: allow(workload="chat")["allowed"])


def test_a_question_that_is_none_is_refused_by_name(ask: Callable[..., Answer]) -> None:
    for query, field in (("wrkload=x", "wrkload"), ("customer=a&customer=b", "customer"), ("tag=prod", "tag")):
        status, said, _ = ask("GET", f"/api/allow?{query}")
        assert status == 422 and [error["field"] for error in said["errors"]] == [field]


def test_a_thousand_budgets_are_asked_in_under_five_milliseconds(conf: Settings, ask: Callable[..., Answer]) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    made = {
        f"b-{number}": Budget(
            id=f"b-{number}", name=f"B {number}", scope="customer", member=f"c{number}", limit_usd="10", created_at=now
        )
        for number in range(1_000)
    }
    publish(conf, dict(made))
    tell(conf, {key: status_of(budget, "10.00", "exceeded", levels=[80, 100]) for key, budget in made.items()})
    assert soon(lambda: not ask("GET", "/api/allow?customer=c999")[1]["allowed"], 10)
    connection = http.client.HTTPConnection("127.0.0.1", conf.worker_web_port, timeout=10)
    taken = []
    for number in range(500):
        began = time.perf_counter()
        connection.request("GET", f"/api/allow?workload=chat&customer=c{number}&model=gpt-5&tag=env%3Dprod")
        verdict = json.loads(connection.getresponse().read())
        taken.append(time.perf_counter() - began)
        assert verdict["allowed"] is False
    connection.close()
    assert statistics.median(taken) < 0.005


def test_the_gateway_of_the_docs_stops_calls(conf: Settings) -> None:
    budget = create_budget(conf, ACME, datetime.now(UTC))
    tell(conf, {"acme-monthly": status_of(budget, "100.00", "exceeded", levels=[80, 100])})
    found = re.search(r"<!-- gateway -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    gateway: dict[str, Any] = {}
    exec(found[1].replace("127.0.0.1:9092", conf.kafka_bootstrap_servers), gateway)
    try:
        gateway["follow"](3.0)
        assert not gateway["allowed"](("customer", "acme"), ("workload", "chat"))
        assert gateway["allowed"](("customer", "globex"))
        compacted.put(conf, topics.BUDGET_STATUS, {"acme-monthly": None})
        gateway["follow"](2.0)
        assert gateway["allowed"](("customer", "acme"))
    finally:
        gateway["consumer"].close()


def test_the_api_describes_itself(ask: Callable[..., Answer]) -> None:
    status, described, _ = ask("GET", "/api/openapi.json")
    assert status == 200 and described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {
        "/api/budgets", "/api/budgets/{budget_id}", "/api/budget-status", "/api/allow", "/api/openapi.json",
    }  # fmt: skip
    made = ask("POST", "/api/budgets", ACME)[1]
    assert set(made) == set(described["components"]["schemas"]["Budget"]["properties"])


def test_a_budget_lives_on_the_command_line(run: Callable[..., str], conf: Settings) -> None:
    assert "No budgets" in run("list")
    said = run(
        "create", "Prod", "--scope", "tag", "--member", "env=prod", "--limit", "12.5", "--period", "day",
        "--threshold", "90", "--threshold", "50",
    )  # fmt: skip
    assert said == "prod created; workers use it within a second\n"
    [listed] = json.loads(run("list", "--json"))
    assert (listed["thresholds"], listed["limit_usd"], listed["status"]) == ([50, 90], "12.50", [])

    budget = topic_budgets(conf)["prod"]
    tell(conf, {"prod": status_of(budget, "6.25", "warning", levels=[50])})
    shown = json.loads(run("show", "prod", "--json"))
    assert (shown["status"][0]["percent"], shown["status"][0]["state"]) == ("50.00", "warning")
    table = run("list")
    assert "warning" in table and "$6.25" in table and "50.00" in table and "━" in table
    assert "$6.25 of $12.50 a day" in run("show", "prod")

    run("change", "prod", "--limit", "5", "--threshold", "10")
    assert json.loads(run("list", "--json"))[0]["status"][0]["state"] == "exceeded"
    assert run("delete", "prod") == "prod deleted\n"
    assert topic_budgets(conf) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "X", "--limit", "-5"], "limit_usd: '-5' is not above 0"),
        (["create", "X", "--limit", "5", "--scope", "planet"], "scope: 'planet' is not a scope"),
        (["create", "X", "--limit", "5", "--scope", "team"], "member: say which team"),
        (["create", "X", "--limit", "5", "--threshold", "101"], "thresholds: 101 is not"),
        (["create", "X", "--limit", "5", "--period", "hour"], "period: 'hour' is not a period; the periods are day,"),
        (["create", "X", "--limit", "5", "--member", "acme"], "member: 'acme' of what? Add --scope"),
        (["change", "nobody", "--limit", "5"], "there is no budget 'nobody'"),
        (["change", "nobody"], "say what to change"),
        (["show", "nobody"], "there is no budget 'nobody'"),
        (["delete", "nobody"], "there is no budget 'nobody'"),
    ],
)
def test_the_command_line_refuses_in_one_line(run: Callable[..., str], words: list[str], said: str) -> None:
    with pytest.raises(SpendError) as refused:
        run(*words)
    assert str(refused.value).startswith(said) and refused.value.exit_code == 2


def test_statuses_are_followed_and_unreadable_ones_are_not_there(conf: Settings) -> None:
    feed = StatusFeed(conf)
    try:
        budget = create_budget(conf, ACME, datetime.now(UTC))
        tell(conf, {"acme-monthly": status_of(budget, "1.00", "ok")})
        compacted.put(conf, topics.BUDGET_STATUS, {"bad": b"{}"})
        assert soon(lambda: feed.get("acme-monthly") is not None)
        assert soon(lambda: set(feed.all()) == {"acme-monthly"})
        assert feed.get("bad") is None
    finally:
        feed.close()


def test_a_stack_that_starts_again_has_its_budgets_and_what_was_planned(tmp_path: Path) -> None:
    conf = on_free_ports(Settings(state_dir=tmp_path, partitions=1))
    with Stack(conf, parts=("broker", "clickhouse", "topics", "migrate")) as stack:
        kept, changed = (create_budget(conf, {**ACME, "name": name}, datetime.now(UTC)) for name in ("Kept", "Changed"))
        client = connect(stack.settings)
        newer = changed.model_copy(update={"limit_usd": changed.limit_usd * 2})
        rows = [
            ("kept", budget_json(kept).decode(), 0, 1),
            ("changed", budget_json(changed).decode(), 0, 1),
            ("changed", budget_json(newer).decode(), 0, 2),
            ("gone", budget_json(kept).decode(), 0, 1),
            ("gone", "", 1, 2),
            ("unreadable", "{", 0, 1),
        ]
        client.insert("spend.budgets", rows, column_names=["id", "value", "removed", "version"])
        began = datetime(2026, 11, 27, tzinfo=UTC)
        activity = Planned(id="job", dimension="workload", member="job", from_=began, until=began + timedelta(days=2))
        publish_planned(conf, activity)
        rows = [(name, value, 0, 1) for name, value in (("job", activity.json_bytes().decode()), ("unreadable", "{"))]
        client.insert("spend.planned", rows, column_names=["id", "value", "removed", "version"])
        assert restore_topics(stack.settings) == NOTHING  # the topics have held a record
    with Stack(conf, parts=("broker", "clickhouse", "topics", "migrate", "restore")) as stack:
        found = topic_budgets(stack.settings)
        assert set(found) == {"kept", "changed"}
        assert found["kept"] == kept and found["changed"].limit_picos == 2 * changed.limit_picos
        assert read_planned(stack.settings) == {"job": activity}
        publish(stack.settings, dict.fromkeys(found))
        withdraw(stack.settings, ["job"])
        assert restore_topics(stack.settings) == NOTHING  # what was deleted stays deleted
