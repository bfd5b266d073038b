"""What the other topics say: budgets and their states, alerts, deliveries, and the sink's reports."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from clickhouse.copied_rows import row
from streams import topics

Document = dict[str, Any]
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Report:
    """How far a partition is: `done` events are decided, `rows` counted, `latest_us` the latest event time."""

    partition: int
    at: datetime
    end: int
    done: int
    blocks: int
    rows: int
    repeats: int
    dead: dict[str, int]
    latest_us: int


@dataclass(frozen=True)
class Topics:
    """Documents as they stand on their topics, the reports, and when each call's row came (by partition, offset)."""

    budgets: Sequence[Document]
    statuses: Sequence[Document]
    alerts: Sequence[Document]  # CloudEvents
    deliveries: Sequence[Document]
    reports: Sequence[Report]
    inserted: dict[tuple[int, int], datetime]


def budget(name: str, scope: str, member: str, limit: str, *thresholds: int) -> Document:
    told = {"id": name.lower(), "name": name, "scope": scope, "member": member, "period": "month"}
    return {**told, "limit_usd": limit, "thresholds": list(thresholds)}


def status(of: Document, member: str, spent: str, percent: str, state: str, **more: str) -> Document:
    """Of the November in which the traffic ends, unless `more` says otherwise."""
    return {
        "budget_id": of["id"], "name": of["name"], "scope": of["scope"], "member": member, "period": "month",
        "period_start": "2026-11-01T00:00:00Z", "resets_at": "2026-12-01T00:00:00Z", "state": state,
        "spent_usd": spent, "limit_usd": of["limit_usd"], "percent": percent, "as_of": "2026-11-20T14:20:00Z", **more,
    }  # fmt: skip


def alert(incident: str, change: str, time: datetime, kind: str, severity: str, **data: str) -> Document:
    told = {"incident": incident, "change": change, "severity": severity, "dimension": "workload", "member": "chat"}
    told |= {"title": f"{incident} {change}", "text": f"About {incident}.", **data}
    event = {"id": f"{incident}/{change}", "source": "/spendstream/log", "type": kind, "subject": incident}
    return {**event, "time": time.isoformat(), "data": told}


def delivery(of: Document, channel: str, state: str, attempts: int, error: str = "") -> Document:
    at = (datetime.fromisoformat(of["time"]) + timedelta(minutes=1)).isoformat()
    told = {"alert_id": of["id"], "channel": channel, "state": state, "attempts": attempts, "last_error": error}
    return {**told, "at": at}


_ALL = budget("All", "global", "", "900.00", 70, 90)
_EACH = budget("Each", "customer", "*", "100.00", 80)
_TAG = budget("Centre", "tag", "cost_center=cc-103", "50.00", 50, 80)
_OVER = budget("Over", "team", "voice", "10.00")
BUDGETS = (_ALL, _EACH, _TAG, _OVER, budget("Fresh", "workload", "", "1.00", 80))
STATUSES = (
    status(_ALL, "", "650.123456789012", "72.23", "warning", breach_p50="2026-11-25T00:00:00Z",
           breach_p90="2026-11-23T12:00:00Z", forecast_p50_usd="950.5", forecast_p90_usd="1000.25"),
    status(_EACH, "Harrowgate Airlines", "120.000000000001", "120.00", "exceeded", breach_p50="2026-11-18T00:00:00Z"),
    status(_EACH, "Other", "5.00", "5.00", "ok"),
    status(_TAG, "cost_center=cc-103", "30.00", "60.00", "warning"),
    status(_OVER, "voice", "11.00", "110.00", "exceeded", resets_at="2026-10-26T00:00:00Z"),
)  # fmt: skip


def alerts(end: datetime) -> tuple[Document, ...]:
    """Incidents before `end`: some over, one told once, two of the pipeline, one after it."""
    return (
        alert("a", "opened", end - 3 * DAY, "spend.anomaly.opened", "major", expected_usd="1.50", actual_usd="12.25"),
        alert("a", "closed", end - 2 * DAY, "spend.anomaly.closed", "info", expected_usd="1.50", actual_usd="14.00"),
        alert("b", "opened", end - 9 * DAY, "spend.budget.warning", "minor", spent_usd="31.00", limit_usd="50.00",
              dimension="tag", member="cost_center=cc-103"),
        alert("b", "escalated", end - DAY, "spend.budget.exceeded", "critical", spent_usd="51.00", limit_usd="50.00",
              dimension="tag", member="cost_center=cc-103"),
        alert("c", "opened", end - 26 * DAY, "spend.anomaly.opened", "major", dimension="global", member=""),
        alert("d", "opened", end - 20 * DAY, "spend.anomaly.opened", "minor", dimension="customer", member=""),
        alert("e", "opened", end - 5 * DAY, "spend.trend", "info"),
        alert("f", "opened", end - 4 * HOUR, "spend.pipeline.stalled", "critical", dimension="", member=""),
        alert("g", "opened", end - 5 * HOUR, "spend.model.unpriced", "minor", dimension="model", member="gpt-9"),
        alert("h", "opened", end + DAY, "spend.anomaly.opened", "critical"),
    )  # fmt: skip


def deliveries(told: Sequence[Document]) -> tuple[Document, ...]:
    """What became of some of the alerts."""
    gone = {**told[0], "id": "an alert that is gone"}
    return (
        delivery(told[0], "chat", "delivered", 1),
        delivery(told[1], "chat", "suppressed", 0),
        delivery(told[3], "chat", "delivered", 2),
        delivery(told[3], "pager", "failed", 5, "503 Service Unavailable"),
        delivery(told[4], "pager", "pending", 1, "timeout"),
        delivery(gone, "pager", "summarised", 0),
    )


def copy(client: Client, said: Topics) -> None:
    """Copy the documents as the sink copies their topics; a budget that was removed is there no more."""
    at = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)
    gone = budget("Gone", "global", "", "1.00", 80)
    records: list[tuple[str, str, Document | None]] = [(topics.BUDGETS, gone["id"], gone)]
    records += [(topics.BUDGETS, each["id"], each) for each in said.budgets]
    records += [(topics.BUDGET_STATUS, f"{each['budget_id']}/{each['member']}", each) for each in said.statuses]
    records += [(topics.ALERTS, each["data"]["incident"], each) for each in said.alerts]
    records += [(topics.DELIVERIES, f"{each['alert_id']}|{each['channel']}", each) for each in said.deliveries]
    records += [(topics.BUDGETS, gone["id"], None)]
    for offset, (topic, key, document) in enumerate(records):
        value = b"" if document is None else json.dumps(document).encode()
        made = row(topic, key.encode(), value, at, offset)
        assert made is not None
        client.raw_insert(made[0], insert_block=made[1], fmt="JSONEachRow")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def money(document: Document, name: str) -> Decimal | None:
    return Decimal(document[name]) if name in document else None
