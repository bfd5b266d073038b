"""Budgets, their statuses, alerts and deliveries about the sample, as `clickhouse/copy_topics.py` writes them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from clickhouse.copied_rows import row
from clickhouse.insert_settings import COPY_SETTINGS
from streams import topics
from streams.sample.budgets import sample_budgets
from streams.sample.generator import Sample
from streams.settings import Settings

Document = dict[str, Any]
Write = Callable[[str, str, Document], None]  # topic, key, document


def tell_budgets(write: Write, sample: Sample, now: datetime, zone: ZoneInfo) -> None:
    """The sample's budgets, one green, one yellow, one red and so on."""
    shares = (Decimal("31.25"), Decimal("86.50"), Decimal("125.03"))
    for place, budget in enumerate(sample_budgets(sample, now, zone)):
        percent = shares[place % 3]
        state = "exceeded" if percent >= 100 else "warning" if percent >= 80 else "ok"
        write(topics.BUDGETS, budget["id"], budget)
        write(topics.BUDGET_STATUS, budget["id"], _status(budget, state, percent, now))


def _status(budget: Document, state: str, percent: Decimal, now: datetime) -> Document:
    limit = Decimal(budget["limit_usd"])
    return {
        "budget_id": budget["id"],
        **{name: budget[name] for name in ("name", "scope", "member", "period")},
        "period_start": _told(now - timedelta(days=9)),
        "resets_at": _told(now + timedelta(days=9)),
        "state": state,
        "spent_usd": f"{(limit * percent / 100).quantize(Decimal('0.000000000001')):f}",
        "limit_usd": budget["limit_usd"],
        "percent": f"{percent}",
        "levels": [],
        "breach_p50": _told(now + timedelta(days=4)),
        "breach_p90": _told(now + timedelta(days=2)),
        "forecast_p50_usd": f"{limit:f}",
        "forecast_p90_usd": f"{limit * 2:f}",
        "forecast_trials": 9,
        "as_of": _told(now),
        "since": None,
    }


def tell_alerts(write: Write, sample: Sample, now: datetime) -> None:
    """The anomaly of the sample's story, still open, what became of telling it, and a model without a price."""
    story = sample.truth.story
    incident = f"anomaly/workload/{story.workload}/300/{int(story.began.timestamp())}"
    title = f"Unusual spend of workload {story.workload}: $3.53, 38.8 times the expected"
    opened = _alert("spend.anomaly.opened", incident, story.began + timedelta(minutes=8), title)
    opened["data"] |= {
        "dimension": "workload",
        "member": story.workload,
        "window_seconds": 300,
        "since": _told(story.began),
        "until": _told(story.began + timedelta(minutes=8)),
        "expected_usd": "0.09",
        "actual_usd": "3.53",
    }
    unpriced = _alert(
        "spend.model.unpriced", "model/gpt-7-preview", now - timedelta(hours=1), "A model without a price"
    )
    for event in (opened, unpriced):
        write(topics.ALERTS, event["data"]["incident"], event)
    for channel, state, said in (("chat", "delivered", ""), ("pager", "failed", "503 from the pager's API")):
        delivery = {"state": state, "attempts": 2, "last_error": said, "at": _told(story.began)}
        write(topics.DELIVERIES, f"{opened['id']}|{channel}", delivery)


def _alert(kind: str, incident: str, at: datetime, title: str) -> Document:
    change = kind.rpartition(".")[2]
    data = {"incident": incident, "change": change, "severity": "major", "title": title, "text": "Why: more calls."}
    return {
        "specversion": "1.0",
        "id": f"{incident}/{change}",
        "source": "/spendstream/log",
        "type": kind,
        "subject": incident,
        "time": _told(at),
        "data": data,
    }


def writer(client: Client, settings: Settings, now: datetime) -> Write:
    """Writes a record of a topic into the table of its copies, as of `now`."""

    def write(topic: str, key: str, document: Document) -> None:
        found = row(topic, key.encode(), json.dumps(document).encode(), int(now.timestamp() * 1000), 0)
        assert found, f"{topic}: {key} is not for a table"
        table, line = found
        name = f"{settings.clickhouse_database}.{table}"
        client.raw_insert(name, insert_block=line, fmt="JSONEachRow", settings=COPY_SETTINGS)

    return write


def _told(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
