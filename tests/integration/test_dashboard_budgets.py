"""Budgets and alerts: what the page shows of documents as they stand on their topics."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from priced_rows import embedded_clickhouse
from shown_pages import Page, between

from clickhouse.client import connect
from clickhouse.copied_rows import row as copied
from clickhouse.migrate import up
from grafana.dashboards.budgets import DASHBOARD
from streams import topics
from streams.settings import Settings

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
WEEK = between(NOW - 7 * DAY, NOW)
HOSTILE = "'; DROP TABLE budgets; -- \\ 🧨"


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("budgets")) as settings:
        client = connect(settings)
        for database in ("spend", "empty"):
            up(client, settings.model_copy(update={"clickhouse_database": database}), lambda: None)
        client.database = "spend"
        for topic, key, document in [*BUDGETS, *STATUSES, *ALERTS, *DELIVERIES]:
            value = json.dumps(document).encode() if document else b""
            made = copied(topic, key.encode(), value, int(NOW.timestamp() * 1000), len(key))
            assert made is not None
            client.raw_insert(made[0], insert_block=made[1], fmt="JSONEachRow")
        yield settings


@pytest.fixture
def page(conf: Settings) -> Page:
    return Page.of(DASHBOARD, conf)


def budget(name: str, scope: str, member: str, limit: str, *thresholds: int) -> tuple[str, str, dict[str, Any]]:
    told = {"id": name.lower(), "name": name, "scope": scope, "member": member, "period": "month"}
    return topics.BUDGETS, name.lower(), {**told, "limit_usd": limit, "thresholds": list(thresholds)}


def status(
    name: str, member: str, spent: str, percent: str, state: str, **more: Any
) -> tuple[str, str, dict[str, Any]]:
    told = {
        "budget_id": name.lower(), "name": name, "scope": "customer", "member": member, "period": "month",
        "period_start": (NOW - 20 * DAY).isoformat(), "resets_at": (NOW + 10 * DAY).isoformat(), "state": state,
        "spent_usd": spent, "limit_usd": "100.00", "percent": percent, "as_of": NOW.isoformat(), **more,
    }  # fmt: skip
    return topics.BUDGET_STATUS, f"{name.lower()}/{member}", told


BUDGETS = [
    budget("Early", "customer", "acme", "100.00", 50, 80),
    budget("Late", "customer", "globex", "100.00", 95),
    budget("Spent", "tag", "env=a=b", "100.00", 80),
    budget("Each", "customer", "*", "100.00", 80),
    budget("Over", "customer", "initech", "100.00", 80),
    budget("Fresh", "global", "", "100.00"),
    budget("Hostile", "customer", HOSTILE, "100.00", 80),
]
STATUSES = [
    status("Early", "acme", "75.00", "75.00", "warning", breach_p50=(NOW + 2 * DAY).isoformat(),
           breach_p90=(NOW + DAY).isoformat(), forecast_p50_usd="110.50"),
    status("Late", "globex", "75.00", "75.00", "ok"),
    status("Spent", "env=a=b", "130.25", "130.25", "exceeded", scope="tag", breach_p50=(NOW - DAY).isoformat(),
           breach_p90=(NOW - DAY).isoformat()),
    status("Each", "acme", "10.00", "10.00", "ok"),
    status("Each", "globex", "85.00", "85.00", "warning"),
    status("Over", "initech", "120.00", "120.00", "exceeded", resets_at=(NOW - DAY).isoformat()),
    status("Hostile", HOSTILE, "1.000000000001", "1.00", "ok"),
]  # fmt: skip


def alert(incident: str, change: str, days: int, kind: str, **data: str) -> tuple[str, str, dict[str, Any]]:
    told = {"incident": incident, "change": change, "severity": "major", "dimension": "customer", "member": "acme"}
    told |= {"title": f"{incident} {change}", "text": "…", **data}
    event = {"id": f"{incident}/{change}", "source": "/spendstream/log", "type": kind, "subject": incident}
    return topics.ALERTS, incident, {**event, "time": (NOW - days * DAY).isoformat(), "data": told}


ALERTS = [
    alert("a", "opened", 3, "spend.anomaly.opened", expected_usd="10.00", actual_usd="123.40"),
    alert("a", "closed", 2, "spend.anomaly.closed", expected_usd="10.00", actual_usd="150.00"),
    alert("b", "opened", 1, "spend.budget.exceeded", spent_usd="130.25", limit_usd="100.00", severity="critical",
          dimension="tag", member="env=a=b"),
    alert("c", "opened", 5, "spend.anomaly.opened", dimension="global", member="", severity="minor"),
    alert("d", "opened", 4, "spend.anomaly.opened", member=HOSTILE),
    alert("e", "opened", 30, "spend.trend"),
]  # fmt: skip


def delivery(alert_id: str, channel: str, state: str, attempts: int, error: str) -> tuple[str, str, dict[str, Any]]:
    told = {"alert_id": alert_id, "channel": channel, "state": state, "attempts": attempts, "last_error": error}
    return topics.DELIVERIES, f"{alert_id}|{channel}", {**told, "at": (NOW - DAY).isoformat()}


DELIVERIES = [
    delivery("b/opened", "on-call", "delivered", 1, ""),
    delivery("b/opened", "chat", "failed", 7, "500 Internal Server Error"),
    delivery("of a log that is gone", "chat", "pending", 2, "timed out"),
]


def test_a_bar_is_yellow_from_its_own_first_threshold_and_red_from_its_limit(page: Page) -> None:
    """On the bar's scale every budget's first threshold stands at 80: 75 % is past 50 %, and not near 95 %."""
    bars = {(each["Budget"], each["Member"]): each["Progress"] for each in page.ask("budgets_list", WEEK)}
    assert bars["Early", "acme"] == 80 + (Decimal(75) - 50) * 20 / (100 - 50)
    assert float(bars["Late", "globex"]) == pytest.approx(75 * 80 / 95, abs=0.01)
    assert bars["Spent", "env=a=b"] == Decimal("130.25")
    assert bars["Each", "globex"] == 80 + (Decimal(85) - 80) * 20 / (100 - 80)
    assert bars["Fresh", "all spend"] == 0


def test_every_budget_has_its_figures_exactly(page: Page) -> None:
    rows = {(each["Budget"], each["Member"]): each for each in page.ask("budgets_list", WEEK)}
    assert len(rows) == len(BUDGETS) + 1  # one for each customer has two
    early = rows["Early", "acme"]
    assert (early["State"], early["Percent"], early["Warns at"]) == ("warning", Decimal("75.00"), 50)
    assert (early["Spent"], early["Limit"], early["Left"]) == (75, 100, Decimal(100) - Decimal(75))
    assert early["Forecast"] == Decimal("110.50")
    assert early["Time to breach"] == (2 * DAY).total_seconds()
    assert early["At the earliest"] == DAY.total_seconds()
    assert early["Resets"].replace(tzinfo=UTC) == NOW + 10 * DAY
    spent = rows["Spent", "env=a=b"]
    assert (spent["Left"], spent["Time to breach"]) == (0, None)
    assert (spent["page_dimension"], spent["page_member"]) == ("tags.env", "a=b")
    assert rows["Hostile", HOSTILE]["Spent"] == Decimal("1.000000000001")


def test_a_budget_whose_period_is_over_has_nothing_spent(page: Page) -> None:
    rows = {each["Budget"]: each for each in page.ask("budgets_list", WEEK)}
    assert (rows["Over"]["State"], rows["Over"]["Spent"], rows["Over"]["Percent"]) == ("ok", 0, 0)
    [counts] = page.ask("budgets_counts", WEEK)
    assert counts == {"Budgets": len(BUDGETS), "Over their threshold": 3, "Over their limit": 1}
    [before] = page.ask("budgets_counts", between(NOW - 7 * DAY, NOW - 2 * DAY))  # when its period was still running
    assert before["Over their limit"] == 2


def test_the_fullest_come_first(page: Page) -> None:
    found = [(each["Budget"], each["Percent"]) for each in page.ask("budgets_gauges", WEEK)]
    assert found[:3] == [("Spent: env=a=b", Decimal("130.25")), ("Each: globex", 85), ("Early: acme", 75)]


def test_incidents_are_open_until_their_last_word_says_otherwise(page: Page) -> None:
    [found] = page.ask("budgets_open", WEEK)
    assert found == {"Critical": 1, "Major": 1, "Minor": 1}
    [before] = page.ask("budgets_open", between(NOW - 7 * DAY, NOW - timedelta(days=2, hours=12)))
    assert before == {"Critical": 0, "Major": 2, "Minor": 1}


def test_the_alert_log_leads_to_the_members(page: Page) -> None:
    found = page.ask("budgets_alerts", WEEK)
    assert [each["Alert"] for each in found] == ["b opened", "a closed", "a opened", "d opened", "c opened"]
    log = {each["Alert"]: each for each in found}
    assert (log["a opened"]["Expected"], log["a opened"]["Actual"]) == (Decimal("10.00"), Decimal("123.40"))
    assert (log["b opened"]["Actual"], log["b opened"]["Limit"]) == (Decimal("130.25"), Decimal("100.00"))
    pages = {name: (each["page_dimension"], each["page_member"]) for name, each in log.items()}
    assert pages["a opened"] == ("customer", "acme")
    assert pages["b opened"] == ("tags.env", "a=b")
    assert pages["c opened"] == ("global", "")
    assert pages["d opened"] == ("customer", HOSTILE)
    assert sum(point["alerts"] for point in page.ask("budgets_alerts_over_time", WEEK)) == len(found)


def test_deliveries_say_what_became_of_each_alert(page: Page) -> None:
    found = {(each["Alert"], each["Channel"]): each for each in page.ask("budgets_deliveries", WEEK)}
    assert len(found) == len(DELIVERIES)
    failed = found["b opened", "chat"]
    assert (failed["State"], failed["Attempts"]) == ("failed", 7)
    assert failed["Last error"] == "500 Internal Server Error"
    assert found["of a log that is gone", "chat"]["State"] == "pending"
    channels = {each["Channel"]: each for each in page.ask("budgets_channels", WEEK)}
    assert (channels["chat"]["Failed"], channels["chat"]["Pending"], channels["chat"]["Delivered"]) == (1, 1, 0)
    assert channels["on-call"]["Delivered"] == 1


@pytest.mark.parametrize("days", [1, 30, 5 * 365])
def test_an_empty_database_has_no_budgets_and_no_alerts(conf: Settings, days: int) -> None:
    found = Page.of(DASHBOARD, conf, "empty").every_panel(between(NOW - days * DAY, NOW))
    assert found.pop("Budgets") == [{"Budgets": 0, "Over their threshold": 0, "Over their limit": 0}]
    assert found.pop("Open alerts") == [{"Critical": 0, "Major": 0, "Minor": 0}]
    assert all(rows == [] for rows in found.values())
