"""The windows worker with everything around it: what producers send, and what people and gateways then hear.

The tests build on each other, in this order, on one stack.
"""

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import jsonschema
import pytest

from clickhouse.client import connect
from schemas.registry import writer_schemas
from schemas.usage_event import UsageEvent
from streams import alerts
from streams.audit import audit
from streams.budgets import topic_statuses
from streams.errors import SpendError
from streams.planned import Planned, planned_id, publish_planned
from streams.producer import UsageProducer
from streams.rates_feed import rates_in_force
from streams.sample.generator import generate
from streams.settings import Settings
from streams.supervisor import EVERYTHING, RESTORES, Stack, on_free_ports

pytestmark = pytest.mark.stack

SCHEMAS = Path(__file__).parents[2] / "schemas" / "alerts"
CALL = Decimal("2.50")  # gpt-4o: a million input tokens
SAMPLE = 5_000
QUIET, LONG = 5_000, 250_000  # output tokens: 5 cents, $2.50


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    wanted = {"partitions": 2, "session_timeout_seconds": 2, "block_seconds": 0.1}
    conf = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("windows"), **wanted))
    with Stack(conf, parts=[part for part in EVERYTHING if part not in RESTORES]) as running:
        yield running
        for name in ("windows-2", "windows", "worker", "sink", "broker", "clickhouse"):
            with suppress(SpendError):  # a test before the one that starts it has failed
                running.kill(name)


@pytest.fixture(scope="module")
def conf(stack: Stack) -> Settings:
    return stack.settings


@pytest.fixture(scope="module")
def gateway(conf: Settings) -> Iterator["Gateway"]:
    with UsageProducer(conf) as producer:
        yield Gateway(producer)


class Gateway:
    """Sends calls that cost $2.50 each, unless told otherwise. `sent` counts all that is to be counted."""

    def __init__(self, producer: UsageProducer) -> None:
        self.producer, self.sent = producer, 0

    def call(self, at: datetime | None = None, **more: Any) -> None:
        self.sent += 1
        tokens = {} if "output_tokens" in more else {"input_tokens": 1_000_000}
        self.producer.send(
            UsageEvent(
                id=f"call-{self.sent}",
                source="gateway",
                time=at or datetime.now(UTC),
                provider="openai",
                request_model="gpt-4o",
                operation="chat",
                **tokens,
                **more,
            )
        )

    def calls(self, count: int, **more: Any) -> None:
        """Returns when Kafka has them."""
        for _ in range(count):
            self.call(**more)
        self.producer.flush()


def test_windows_equal_the_raw_rows_of_sample_traffic(conf: Settings, gateway: Gateway) -> None:
    early = ask(conf, "POST", "/api/budgets", budget("Early", "early", "10", thresholds=[50]))
    assert early["id"] == "early"
    ten_hours_ago = datetime.now(UTC) - timedelta(hours=10)
    plan(conf, "planned-job", ten_hours_ago)
    sample = generate(seed=5, end=ten_hours_ago, events=SAMPLE, days=3)
    for keys, values in sample.encoded(prefix=gateway.producer.prefix):
        gateway.producer.send_many(keys, values)
    gateway.sent += sample.truth.events
    for number in range(115):  # of five minutes, nine and a half hours
        if number in (100, 101, 102, 103):
            settle(conf, gateway)  # else the calls of one partition may close a window before the others' are in it
        tokens = LONG if number in (100, 101, 102) else QUIET
        for job in 4 * ("planned-job", "loud-job"):  # some for each partition
            gateway.call(ten_hours_ago + timedelta(minutes=5 * number), workload=job, output_tokens=tokens)
    gateway.producer.flush()
    assert_exact(conf, gateway)


def test_planned_activity_is_silent(conf: Settings) -> None:
    loud = until(lambda: [a for a in told(conf) if a["subject"] == "workload/loud-job"], "an alert")
    assert {alert["type"] for alert in loud} == {"spend.anomaly.opened", "spend.anomaly.updated"}
    data = loud[0]["data"]
    assert Decimal(data["actual_usd"]) - Decimal(data["expected_usd"]) == Decimal(data["excess_usd"]) > 8
    assert not [alert for alert in told(conf) if alert["subject"] == "workload/planned-job"]


def test_a_budget_warns_is_exceeded_and_stops_calls(
    conf: Settings, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert allowed(conf, customer="early") is True
    gateway.calls(1, customer="early")
    gateway.calls(1, customer="early")  # half of $10
    sent = time.monotonic()
    warning = await_alert(conf, "early", 50)
    passed = time.monotonic() - sent
    assert (warning["type"], warning["data"]["change"]) == ("spend.budget.warning", "opened")
    assert Decimal(warning["data"]["spent_usd"]) == 2 * CALL
    assert allowed(conf, customer="early") is True
    gateway.calls(2, customer="early")
    again = time.monotonic()
    exceeded = await_alert(conf, "early", 100)
    with capsys.disabled():
        print(f"\n  event to alert: {passed:.2f} s, {time.monotonic() - again:.2f} s")
    assert max(passed, time.monotonic() - again) < 10
    assert (exceeded["type"], exceeded["data"]["change"]) == ("spend.budget.exceeded", "escalated")
    assert Decimal(exceeded["data"]["spent_usd"]) == 4 * CALL == Decimal(exceeded["data"]["limit_usd"])
    status = until(lambda: (s := topic_statuses(conf).get("early")) and s.state == "exceeded" and s, "a status")
    assert (status.spent_usd, status.percent, status.levels) == ("10.00", "100.00", (50, 100))
    until(lambda: allowed(conf, customer="early") is False, "calls to be stopped", 5)
    assert allowed(conf, customer="somebody else") is True


def test_a_budget_that_is_made_later_knows_what_was_spent(
    conf: Settings, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.calls(3, customer="later")
    until(lambda: window(conf, "day", "customer", "later")[0] == 3, "the window")
    made = time.monotonic()
    ask(conf, "POST", "/api/budgets", budget("Later", "later", "5"))
    alert = await_alert(conf, "later", 100)
    until(lambda: allowed(conf, customer="later") is False, "calls to be stopped", 10)
    with capsys.disabled():
        print(f"\n  budget to stopped calls: {time.monotonic() - made:.2f} s")
    assert Decimal(alert["data"]["spent_usd"]) == 3 * CALL
    assert alert["data"]["level"] == 100


def test_a_late_event_corrects_its_old_windows(conf: Settings, gateway: Gateway) -> None:
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    for calls in (1, 2):
        gateway.calls(1, customer="late", at=two_days_ago)
        for level in ("quarter_hour", "day"):
            until(lambda level=level, n=calls: window(conf, level, "customer", "late") == (n, n * CALL), level)


def test_a_second_worker_joins_and_both_go_on(stack: Stack, conf: Settings, gateway: Gateway) -> None:
    stack.start("windows-2")
    for _ in range(5):
        gateway.calls(40, customer="shared", output_tokens=100)
        time.sleep(0.3)
    until(lambda: "spend.totals partition" in stack.log("windows-2").read_text(), "the second to have a partition")
    assert_exact(conf, gateway)
    gateway.calls(2, customer="later")
    until(lambda: window(conf, "day", "customer", "later")[0] == 5, "the window")
    stack.check()


def test_metrics_say_how_it_goes(conf: Settings) -> None:
    with urlopen(f"http://127.0.0.1:{conf.windows_web_port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    for name in (
        *("spend_total_seconds_count", "spend_merge_seconds_count", "spend_checkpoint_seconds_count"),
        *("spend_windows_changed_total", "spend_windows_watermark_seconds", "spend_alerts_total", "spend_lag_records"),
    ):
        assert f"\n{name}{{" in page or f"\n{name} " in page, name
    assert 'type="spend.budget.exceeded"' in page


def test_a_budget_that_is_deleted_leaves_no_status_and_nothing_open(conf: Settings) -> None:
    assert "early" in topic_statuses(conf)
    ask(conf, "DELETE", "/api/budgets/early")
    until(lambda: "early" not in topic_statuses(conf), "the status to go")
    incidents = until(lambda: (i := of_budget(conf, "early")) and all(not x.is_open for x in i) and i, "an end")
    assert {incident.latest.alert.document["data"]["change"] for incident in incidents} == {"resolved"}
    assert len(incidents) == 2
    until(lambda: allowed(conf, customer="early") is True, "calls to go on", 5)


def test_every_alert_fits_its_schema_and_is_there_once(conf: Settings) -> None:
    found = told(conf)
    for document in found:
        schema = json.loads((SCHEMAS / f"{document['type']}.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(document)
    assert set(Counter(document["id"] for document in found).values()) == {1}
    opened = Counter(d["data"]["incident"] for d in found if d["data"]["change"] in ("opened", "escalated"))
    assert set(opened.values()) == {1}
    assert {kind.split(".")[1] for kind in (d["type"] for d in found)} >= {"budget", "anomaly", "model"}


def budget(name: str, customer: str, limit: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "scope": "customer", "member": customer, "limit_usd": limit, **more}


def plan(conf: Settings, workload: str, since: datetime) -> None:
    """Say that a workload's activity of this day is expected."""
    publish_planned(
        conf,
        Planned(
            id=planned_id("workload", workload, since),
            dimension="workload",
            member=workload,
            from_=since,
            until=since + timedelta(days=1),
            reason="a test",
        ),
    )


def settle(conf: Settings, gateway: Gateway) -> None:
    """Wait until all that was sent is in the windows."""
    gateway.producer.flush()
    calls = "SELECT sum(calls) FROM spend.windows FINAL WHERE level = 'day' AND dimension = 'global'"
    with closing(connect(conf)) as client:
        until(lambda: int(client.command(calls)) == gateway.sent, f"{gateway.sent} calls in the windows")


def assert_exact(conf: Settings, gateway: Gateway) -> None:
    """The audit: nothing lost or doubled, and every window equals its raw rows."""
    report = audit(conf, rates_in_force(conf), writer_schemas(conf), 30, lambda *_: None).to_json()
    assert report["ok"], report
    assert report["accepted"] == gateway.sent
    windows = report["windows"]
    assert (windows["differing"], windows["changing"], windows["dimensions"]) == (0, 0, 13)
    assert windows["levels"]["day"]["calls"] == gateway.sent
    for level in windows["levels"].values():
        assert level["windows"] > 0
        assert level["cost"] == level["raw_cost"] != "0.000000000000"


def told(conf: Settings) -> list[dict[str, Any]]:
    return [published.alert.document for published in alerts.read(conf)]


def of_budget(conf: Settings, budget_id: str) -> list[alerts.Incident]:
    return [i for i in alerts.fold(alerts.read(conf)) if i.key.startswith(f"budget/{budget_id}/")]


def await_alert(conf: Settings, budget_id: str, level: int) -> dict[str, Any]:
    """The first alert about a budget's level."""

    def find() -> dict[str, Any] | None:
        about = (d for d in told(conf) if d["data"].get("budget_id") == budget_id and d["data"]["level"] == level)
        return next(about, None)

    found: dict[str, Any] = until(find, f"an alert of {budget_id} at {level} %")
    return found


def window(conf: Settings, level: str, dimension: str, member: str) -> tuple[int, Decimal]:
    """Calls and cost of a member in all windows of a level, as ClickHouse has them."""
    [row] = (
        connect(conf)
        .query(
            "SELECT toInt64(sum(calls)), sum(cost_total) FROM spend.windows FINAL "
            "WHERE level = {level:String} AND dimension = {dimension:String} AND member = {member:String}",
            parameters={"level": level, "dimension": dimension, "member": member},
        )
        .result_rows
    )
    return row[0], row[1]


def ask(conf: Settings, method: str, path: str, body: Any = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", conf.worker_web_port, timeout=10)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text) if text else None
    finally:
        connection.close()


def allowed(conf: Settings, **call: str) -> bool:
    return bool(ask(conf, "GET", f"/api/allow?{urlencode(call)}")["allowed"])


def until(condition: Callable[[], Any], what: str, seconds: float = 40.0) -> Any:
    """Wait until a condition holds; its value."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
    return found
