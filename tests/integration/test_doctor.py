"""The doctor finds what is broken and names the mend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clickhouse import migrate
from clickhouse.client import connect
from schemas.usage_event import UsageEvent
from streams.doctor import Finding, examine
from streams.producer import UsageProducer
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("doctor"), block_events=2, partitions=1))
    with Stack(settings, parts=("broker", "clickhouse", "topics", "migrate")) as running:
        yield running


def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(settings)}


def test_a_sound_set_up_needs_no_mend(stack: Stack):
    found = findings(stack.settings)
    assert {name for name, finding in found.items() if finding.mend} == set()
    assert {"broker", "topics", "database", "migrations", "worker", "sink"} <= found.keys()


def test_a_broker_and_a_database_that_are_away_are_named_with_their_settings(stack: Stack):
    away = on_free_ports(stack.settings)
    found = findings(away)
    assert "SPEND_KAFKA_BOOTSTRAP_SERVERS" in found["broker"].found
    assert "SPEND_CLICKHOUSE_URL" in found["database"].found
    assert not found["topics"].looked and not found["migrations"].looked


def test_missing_topics_are_named(tmp_path: Path):
    with Stack(on_free_ports(Settings(state_dir=tmp_path)), parts=("broker",)) as bare:
        found = findings(bare.settings)
    assert "spend.usage" in found["topics"].found
    assert found["topics"].mend == "spendstream topics create"


def test_a_migration_that_is_not_applied_is_told(stack: Stack):
    client = connect(stack.settings)
    migrate.down(client, stack.settings, lambda: None)
    assert findings(stack.settings)["migrations"].mend == "spendstream migrate up"
    migrate.up(client, stack.settings, lambda: None)
    assert findings(stack.settings)["migrations"].mend == ""


def test_rows_that_are_kept_for_another_time_than_set_are_told(stack: Stack):
    assert "raw 400, rollup 3650" in findings(stack.settings)["retention"].found
    shorter = stack.settings.model_copy(update={"raw_retention_days": 90, "alert_retention_days": 30})
    found = findings(shorter)["retention"]
    assert (found.found.rpartition(": ")[2], found.mend) == (
        "alerts, deliveries, usage, windows",
        "spendstream migrate up",
    )


def test_events_that_nobody_prices_ask_for_a_worker(stack: Stack):
    with UsageProducer(stack.settings) as producer:
        for _ in range(20):
            producer.send(
                UsageEvent(
                    source="gw", provider="openai", request_model="gpt-5", operation="chat", time="2026-11-01T00:00:00Z"
                )  # type: ignore[arg-type]
            )
    found = findings(stack.settings)["worker"]
    assert (found.found, found.mend) == ("20 events wait for a price", "start or add workers: spendstream worker")


def test_a_wrong_rates_file_is_told_with_its_field(stack: Stack, tmp_path: Path):
    wrong = tmp_path / "rates.yaml"
    wrong.write_text("- id: ours\n  provider: openai\n  discont_percent: '5'\n")
    found = findings(stack.settings.model_copy(update={"rates_file": wrong}))["rates"]
    assert found.mend and "discont_percent" in found.found
