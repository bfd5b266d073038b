"""The audit on the embedded stack: what went in is what is counted, and what is tampered with is found.

The tests build on each other, in this order, on one stack.
"""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from clickhouse.client import connect
from schemas.registry import writer_schemas
from streams.audit import Report, audit, rollups
from streams.errors import SpendError
from streams.producer import UsageProducer
from streams.rates_feed import rates_in_force
from streams.sample.generator import Sample, generate
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    conf = Settings(state_dir=tmp_path_factory.mktemp("audit"), partitions=2, block_seconds=0.1)
    with Stack(on_free_ports(conf)) as running:
        yield running


@pytest.fixture(scope="module")
def sample() -> Sample:
    return generate(seed=11, end=datetime.now(UTC), events=3_000)


def send(conf: Settings, sample: Sample) -> None:
    with UsageProducer(conf) as producer:
        for keys, values in sample.encoded():
            producer.send_many(keys, values)


def audited(conf: Settings, wait_seconds: float = 30.0) -> Report:
    told: list[tuple[str, int, int]] = []
    report = audit(
        conf, rates_in_force(conf), writer_schemas(conf), wait_seconds, lambda *progress: told.append(progress)
    )
    assert ("rollups", 2, 2) in told
    assert told[-1] == ("windows", 39, 39)  # three levels of thirteen dimensions
    return report


def tamper(conf: Settings, statement: str) -> None:
    connect(conf).command(statement, settings={"mutations_sync": 1})


def test_what_went_in_is_what_is_counted(stack: Stack, sample: Sample):
    send(stack.settings, sample)
    report = audited(stack.settings)
    found = report.to_json()
    assert report.ok, found["examples"]
    truth = sample.truth
    assert found["events"] == truth.records
    assert found["accepted"] == truth.events
    assert found["dropped_duplicates"] == truth.duplicates
    assert found["dead_letters_by_reason"] == {reason: n for reason, n in truth.dead_letters.items() if n}
    assert found["rollups"][0]["calls"] == truth.events
    assert found["unpriced"] > 0
    [[cost]] = connect(stack.settings).query("SELECT toString(sum(cost_total)) FROM spend.usage").result_rows
    assert {Decimal(found["cost"][where]) for where in ("oracle", "raw", "rollup")} == {Decimal(cost)}


def test_the_command_ends_with_0_and_gives_json(stack: Stack, sample: Sample):
    found = json.loads(stack.run("audit", "--json"))
    assert (found["ok"], found["lost"], found["duplicated"]) == (True, 0, 0)
    assert found["windows"]["levels"]["day"]["calls"] == sample.truth.events
    assert found["differences"]["raw_minus_oracle"] == found["differences"]["rollup_minus_raw"] == "0.000000000000"
    assert found["accepted"] == sample.truth.events


def test_what_is_not_inserted_yet_is_pending_and_not_lost(stack: Stack):
    stack.stop("sink")
    send(stack.settings, more := generate(seed=12, end=datetime.now(UTC), events=200))
    report = audited(stack.settings, wait_seconds=0)
    found = report.to_json()
    assert not report.ok
    assert (found["pending"], found["lost"]) == (more.truth.records, 0)
    stack.start("sink")
    assert audited(stack.settings).ok


def test_an_audit_while_events_arrive_compares_what_there_was_when_it_began(stack: Stack):
    live = generate(seed=14, end=datetime.now(UTC), events=10_000)
    over = threading.Event()

    def send_slowly() -> None:
        with UsageProducer(stack.settings) as producer:
            for keys, values in live.encoded(size=20):
                producer.send_many(keys, values)
                if over.wait(0.3):
                    return

    thread = threading.Thread(target=send_slowly)
    thread.start()
    try:
        report = audited(stack.settings)
        assert thread.is_alive()
        assert report.ok, report.to_json()["examples"]
    finally:
        over.set()
        thread.join()
    report = audited(stack.settings)
    assert report.ok, report.to_json()


def test_an_empty_log_after_older_ones_is_ok_and_says_what_it_could_not_check(stack: Stack):
    before = audited(stack.settings).to_json()
    for part in ("worker", "windows", "sink", "broker"):
        stack.kill(part)
    for part in ("broker", "topics", "worker", "windows", "sink"):
        stack.start(part)
    assert audited(stack.settings).ok
    send(stack.settings, newer := generate(seed=13, end=datetime.now(UTC), events=300))
    report = audited(stack.settings)
    found = report.to_json()
    assert report.ok, found["examples"]
    assert found["accepted"] == newer.truth.events
    (gone,) = found["logs_gone"].values()
    assert gone == {"rows": before["accepted"], "duplicated": 0, "cost": before["cost"]["raw"]}
    assert found["rollups"][0]["calls"] == before["accepted"] + newer.truth.events
    assert Decimal(found["cost"]["rollup"]) == Decimal(found["cost"]["raw"]) + Decimal(gone["cost"])


def test_each_kind_of_tampering_is_found_and_placed(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rollups, "_SETTLED", 1)
    conf = stack.settings
    log = audited(conf).log_id
    here = f"log_id = '{log}' AND source_partition"
    accepted = [
        offset
        for [offset] in connect(conf)
        .query(f"SELECT source_offset FROM spend.usage WHERE {here} = 0 AND cost_total > 0 ORDER BY 1 LIMIT 5")
        .result_rows
    ]
    lost, doubled, changed, anothers, counted = accepted
    tamper(conf, f"ALTER TABLE spend.usage DELETE WHERE {here} = 0 AND source_offset = {lost}")
    tamper(conf, f"INSERT INTO spend.usage SELECT * FROM spend.usage WHERE {here} = 0 AND source_offset = {doubled}")
    tamper(
        conf,
        "ALTER TABLE spend.usage UPDATE cost_output = cost_output + toDecimal128('0.000000000001', 12) "
        f"WHERE {here} = 0 AND source_offset = {changed}",
    )
    for what, offset in (("customer = 'somebody else'", anothers), ("reasoning_output_tokens = 987654", counted)):
        tamper(conf, f"ALTER TABLE spend.usage UPDATE {what} WHERE {here} = 0 AND source_offset = {offset}")
    tamper(conf, "ALTER TABLE spend.members_15m DELETE WHERE dimension = 'user'")
    report = audited(conf, wait_seconds=5.0)  # windows differ as well, and would be waited for
    found = report.to_json()
    assert not report.ok
    assert (found["lost"], found["duplicated"], found["differing"]) == (1, 1, 3)
    assert found["components"]["cost_output"]["raw"] != found["components"]["cost_output"]["oracle"]
    by_dimension, by_member = found["rollups"]
    assert 1 <= by_dimension["differing"] <= 6  # who lost a row, and who got it
    assert by_member["differing"] > 3
    assert by_member["raw_calls"] > by_member["calls"]
    assert any(f"offset {lost} " in line and "is not in ClickHouse" in line for line in found["examples"])
    assert any(f"offset {doubled} " in line and "more than once" in line for line in found["examples"])
    assert any(f"offset {changed} " in line and "cost_output is" in line for line in found["examples"])
    for offset in (anothers, counted):
        assert any(f"offset {offset} " in line and "a name or count is another" in line for line in found["examples"])
    with pytest.raises(SpendError, match="ended with 1"):
        stack.run("audit", "--wait", "5")
