"""Alerts: every builder's document validates against its published schema, is deterministic, and reads well."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from streams.spend import alert, relay_notices
from streams.spend.alert import Alert, BudgetLevel, Completeness, Origin
from streams.spend.alert_document import SCHEMAS, TYPES, canonical
from streams.spend.anomaly import Finding, incident_id
from streams.spend.change_split import Share, Split
from streams.spend.money import PICOS
from streams.spend.trend import Trend

FOLDER = Path(schemas.__path__[0]) / "alerts"
FROZEN = json.loads((FOLDER / "frozen.json").read_text())
ZURICH = ZoneInfo("Europe/Zurich")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
COMPLETENESS = Completeness(NOON, events=1_234, duplicates_dropped=5, dead_letters=1)
ORIGIN = Origin("AaH85+9/cQGi4S++dGhVoA", COMPLETENESS, ZURICH)
LEVEL = BudgetLevel(
    budget_id="acme-monthly",
    name="Acme monthly",
    scope="customer",
    member="acme",
    period="month",
    period_start=datetime(2026, 10, 31, 23, tzinfo=UTC),  # midnight in Zurich
    resets_at=datetime(2026, 11, 30, 23, tzinfo=UTC),
    level=80,
    limit=100 * PICOS,
    spent=81 * PICOS + PICOS // 4,
    crossed_at=datetime(2026, 11, 20, 11, 59, tzinfo=UTC),
)
FULL = replace(LEVEL, level=100, spent=101 * PICOS)
SINCE = int(NOON.timestamp())
FINDING = Finding(
    position=0,
    change="opened",
    severity="major",
    window_seconds=300,
    window=SINCE + 1_200,
    since=SINCE,
    until=SINCE + 1_500,
    expected=10 * PICOS,
    actual=123 * PICOS + 4 * PICOS // 10,
    score=1.25,
)
SHARES = (Share("model", "gpt-5", PICOS, 93 * PICOS, 811_287, 700_000),)
NOTHING_ELSE = {"model_mix": 0, "tier_mix": 0, "cache": 0}
SPLIT = Split(
    FINDING.excess, {**NOTHING_ELSE, "volume": 100 * PICOS, "tokens_per_call": 16 * PICOS, "price": -26 * PICOS // 10}
)
RISING = Trend(
    "acme", previous=100 * PICOS, current=142 * PICOS + 3 * PICOS // 10, slope=53 * PICOS // 100, p_value=0.0021
)

STORM = [alert.unpriced(ORIGIN, f"m{n}", "x", 1, NOON) for n in range(17)]

EVERY: dict[str, Callable[[], Alert]] = {
    "warning": lambda: alert.budget_opened(ORIGIN, NOON, LEVEL),
    "warning again": lambda: alert.budget_opened(ORIGIN, NOON, LEVEL, again=1),
    "warning revised": lambda: alert.budget_revised(ORIGIN, NOON, LEVEL, 2),
    "exceeded": lambda: alert.budget_opened(ORIGIN, NOON, FULL),
    "exceeded after a warning": lambda: alert.budget_opened(ORIGIN, NOON, FULL, escalated=True),
    "exceeded revised": lambda: alert.budget_revised(ORIGIN, NOON, FULL, 1),
    "retracted": lambda: alert.budget_retracted(ORIGIN, NOON, replace(LEVEL, spent=79 * PICOS)),
    "resolved": lambda: alert.budget_resolved(ORIGIN, LEVEL.resets_at, FULL),
    "budget of everything": lambda: alert.budget_opened(ORIGIN, NOON, replace(FULL, scope="global", member="")),
    "anomaly": lambda: alert.anomaly(ORIGIN, "workload", "agent", FINDING, explained_by=SHARES, split=SPLIT),
    "anomaly updated": lambda: alert.anomaly(ORIGIN, "workload", "agent", replace(FINDING, change="updated")),
    "anomaly closed": lambda: alert.anomaly(ORIGIN, "workload", "agent", replace(FINDING, change="closed")),
    "anomaly without details": lambda: alert.anomaly(
        ORIGIN, "user", "", replace(FINDING, expected=0), details="the minutes are gone"
    ),
    "rising": lambda: alert.trend(ORIGIN, "customer", RISING, 28, NOON),
    "falling": lambda: alert.trend(ORIGIN, "customer", replace(RISING, current=0, slope=-PICOS), 28, NOON),
    "risen from nothing": lambda: alert.trend(ORIGIN, "customer", replace(RISING, previous=0, p_value=1e-9), 28, NOON),
    "unpriced": lambda: alert.unpriced(ORIGIN, "gpt-9", "openai", 1_234, NOON),
    "stalled": lambda: alert.stalled(ORIGIN, NOON, partition=3, mark=8_812, lag=12_345, seconds=150),
    "summary": lambda: relay_notices.summary("ops", STORM, NOON),
    "test": lambda: relay_notices.test("ops", NOON, "1"),
}


def validate(document: dict[str, Any]) -> None:
    """Against the published file of its type, by the reference implementation."""
    schema = json.loads((FOLDER / f"{document['type']}.json").read_text())
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    validator(schema).validate(document)


@pytest.mark.parametrize("name", EVERY)
def test_every_document_validates_against_its_schema(name: str) -> None:
    made = EVERY[name]()
    validate(json.loads(made.value))
    assert made.key == made.document["data"]["incident"]
    assert made.value == EVERY[name]().value, "the same whoever raises it and however often"


@pytest.mark.parametrize("name", EVERY)
def test_a_schema_refuses_what_it_does_not_know(name: str) -> None:
    document = EVERY[name]().document
    for changed in (
        {**document, "extension": "x"},
        {**document, "data": {**document["data"], "more": 1}},
        {**document, "data": {k: v for k, v in document["data"].items() if k != "severity"}},
        {**document, "type": "spend.other"},
    ):
        with pytest.raises((jsonschema.ValidationError, FileNotFoundError)):
            validate(changed)


def test_no_two_of_them_have_one_id() -> None:
    ids = [build().id for name, build in EVERY.items() if name not in ("budget of everything", "risen from nothing")]
    assert len(set(ids)) == len(ids)


def test_published_alert_schemas_are_frozen() -> None:
    for entry in FROZEN:
        content = (FOLDER / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], (
            f"{entry['file']} was published and must not change: give the changed schema a name of its own, such as "
            f"{entry['type']}.v{entry['version'] + 1}.json, and an entry in schemas/alerts/frozen.json"
        )
        assert json.loads(content)["$id"] == f"{SCHEMAS}/{entry['file']}"
    assert {entry["file"] for entry in FROZEN} == {path.name for path in FOLDER.glob("spend.*.json")}
    assert {entry["type"] for entry in FROZEN} == {*TYPES, "spend.relay.summary", "spend.relay.test"}


def test_ids_are_functions_of_what_they_are_about() -> None:
    incident = "budget/acme-monthly/acme/2026-11-01/80"
    assert alert.budget_incident(LEVEL, ZURICH) == incident
    assert EVERY["warning"]().id == f"{incident}/opened"
    assert EVERY["warning again"]().id == f"{incident}/opened/2"
    assert EVERY["warning revised"]().id == f"{incident}/revised/2"
    assert EVERY["exceeded after a warning"]().id == "budget/acme-monthly/acme/2026-11-01/100/escalated"
    assert EVERY["anomaly"]().key == incident_id("workload", "agent", FINDING)
    assert EVERY["anomaly updated"]().id == f"anomaly/workload/agent/300/{SINCE}/updated/{SINCE + 1_200}"
    assert EVERY["rising"]().key == "trend/customer/acme/rising/2026-11-20"


def test_money_is_exact_for_machines_and_readable_for_people() -> None:
    data = EVERY["exceeded"]().document["data"]
    assert (data["limit_usd"], data["spent_usd"], data["percent"]) == ("100.00", "101.00", "101.00")
    assert data["title"] == "Budget Acme monthly (customer acme) exceeded: $101.00 of $100.00 (101.00%)"
    assert "The month ends at 2026-12-01 00:00 CET." in data["text"]
    tiny = alert.budget_opened(ORIGIN, NOON, replace(LEVEL, limit=12 * 10**6, spent=10 * 10**6)).document["data"]
    assert tiny["spent_usd"] == "0.00001"
    assert "$0.00001 of $0.000012 (83.33%)" in tiny["title"]


def test_an_anomaly_tells_how_much_where_and_why() -> None:
    data = EVERY["anomaly"]().document["data"]
    assert data["title"] == "Unusual spend of workload agent: $123.40, 12.3 times the expected"
    assert data["text"].splitlines() == [
        "From 2026-11-20 13:00 CET to 2026-11-20 13:25 CET workload agent cost $123.40; "
        "$10.00 was expected, so $113.40 too much.",
        "Where: model gpt-5 (81%) of the excess.",
        "Why: number of calls +$100.00, tokens per call +$16.00, prices -$2.60.",
    ]
    assert data["split"]["total_usd"] == data["excess_usd"] == "113.40"
    assert EVERY["anomaly"]().document["time"] == "2026-11-20T12:25:00Z"


def test_names_of_producers_cannot_break_a_line_or_fill_a_screen() -> None:
    made = alert.anomaly(ORIGIN, "user", "a\nb\x1b[31m" + "x" * 500, FINDING)
    assert "\n" not in made.document["data"]["title"] and "\x1b" not in made.document["data"]["text"]
    assert len(made.document["data"]["title"]) < 200
    validate(json.loads(made.value))


@given(
    st.integers(-(10**22), 10**22),
    st.integers(1, 10**22),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(1, 100),
)
def test_any_amount_and_any_name_validates(spent: int, limit: int, member: str, percent: int) -> None:
    made = alert.budget_opened(ORIGIN, NOON, replace(LEVEL, spent=spent, limit=limit, member=member, level=percent))
    validate(json.loads(made.value))


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="is a float"):
        canonical({"data": {"amounts": [{"usd": 1.5}]}})


def test_a_storm_in_one_notice() -> None:
    data = EVERY["summary"]().document["data"]
    assert data["title"] == "17 more alerts held back: 17 minor"
    assert data["text"].splitlines()[-2:] == ["- and 7 more", "`spendstream alerts list` shows all of them."]
    assert data["held_back"] == len(data["alert_ids"]) == 17
