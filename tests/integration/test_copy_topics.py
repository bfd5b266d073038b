"""Copies of the other topics on the real engine and broker: the newest version counts, whatever stops in between."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pytest
from confluent_kafka import Producer, TopicPartition
from priced_log import PricedLog, database, kill, renew, sums
from windows_by_hand import Window, block, empty, publish

from clickhouse import migrate
from clickhouse.client import connect
from schemas.windows import windows_arrow
from streams import topics
from streams.kafka import block_producer, reader
from streams.kafka_rights import COPY_GROUP
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
ALERT = {
    "specversion": "1.0",
    "id": "budget/acme-monthly//2026-11-01/80/opened",
    "source": "/spendstream/the-log",
    "type": "spend.budget.warning",
    "subject": "budget/acme-monthly",
    "time": "2026-11-21T08:00:00Z",
    "data": {"incident": "budget/acme-monthly//2026-11-01/80", "change": "opened", "severity": "minor", "text": "…"},
}
STATUS = {
    "budget_id": "acme-monthly",
    "state": "warning",
    "spent_usd": "81.250000000001",
    "limit_usd": "100.00",
    "percent": "81.25",
    "resets_at": "2026-12-01T00:00:00Z",
    "breach_p50": None,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("copies"), partitions=2, session_timeout_seconds=2)
    with Stack(on_free_ports(settings), parts=("broker", "clickhouse")) as stack:
        yield stack
        kill(stack, "sink", "sink-2", "broker", "clickhouse")


@pytest.fixture
def conf(stack: Stack, request: pytest.FixtureRequest) -> Settings:
    """Settings with an empty broker, its topics, and an empty database of the test's own."""
    stack.log("sink").unlink(missing_ok=True)
    return renew(stack, request.node.name[:60])


@pytest.fixture
def producer(conf: Settings) -> Producer:
    return block_producer(conf)


def windows(version: int, calls: int, members: int = 50) -> list[Window]:
    """A day of each member, with so many calls of 0.000000000001 USD."""
    made = []
    for number in range(members):
        window = empty("the-log", ("day", TODAY - timedelta(days=number % 40), "customer", f"c{number}"), version)
        window |= {"calls": calls, "cost_input": calls * PICO, "cost_total": calls * PICO, "input_tokens": 10**15 + 1}
        made.append(window)
    return made


PICO = Decimal("0.000000000001")


def held(conf: Settings) -> list[dict[str, Any]]:
    found = database(conf).query("SELECT * FROM windows FINAL ORDER BY ALL")
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


def same(windows: list[Window]) -> list[dict[str, Any]]:
    names = windows_arrow().names
    return sorted(windows, key=lambda window: tuple(window[name] for name in names))


def total(conf: Settings) -> tuple[int, int, Decimal]:
    [found] = database(conf).query("SELECT count(), sum(calls), sum(cost_total) FROM windows FINAL").result_rows
    return tuple(found)


def test_a_block_of_windows_is_copied_as_it_is(stack: Stack, conf: Settings, producer: Producer) -> None:
    stack.start("sink")
    wanted = windows(version=1, calls=3)
    wanted[7] |= {"member": "Ünïcode|'quoted'\\", "errors": 2, "cost_total": Decimal("-12345678901234.000000000001")}
    publish(producer, conf, wanted, size=10)
    until(lambda: len(held(conf)) == len(wanted))
    found = held(conf)
    for window in found:
        window["start"] = window["start"].replace(tzinfo=UTC)
    assert found == same(wanted)


def test_the_newest_version_counts_in_whatever_order_they_come(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    stack.start("sink")
    publish(producer, conf, windows(version=2, calls=5))
    until(lambda: total(conf) == (50, 250, 250 * PICO))
    publish(producer, conf, windows(version=1, calls=9))
    publish(producer, conf, windows(version=1, calls=9, members=51)[50:])
    until(lambda: total(conf) == (51, 259, 259 * PICO))
    publish(producer, conf, windows(version=3, calls=1, members=51))
    until(lambda: total(conf) == (51, 51, 51 * PICO))


def test_json_records_become_rows_and_an_empty_one_removes_its_key(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    stack.start("sink")
    say(producer, topics.ALERTS, ALERT["data"]["incident"], ALERT)
    say(producer, topics.ALERTS, ALERT["data"]["incident"], ALERT)  # raised again after a crash
    for key in ("acme-monthly", "global"):
        say(producer, topics.BUDGETS, key, {"id": key, "limit_usd": "100.00"})
        say(producer, topics.BUDGET_STATUS, key, STATUS | {"state": "ok"})
        say(producer, topics.BUDGET_STATUS, key, STATUS)
    say(producer, topics.DELIVERIES, f"{ALERT['id']}|pager", {"state": "failed", "attempts": 1, "last_error": "500"})
    say(producer, topics.DELIVERIES, f"{ALERT['id']}|pager", {"state": "delivered", "attempts": 2})
    say(producer, topics.PLANNED, "workload/backfill/2026-11-27T06:00:00Z", {"member": "backfill"})
    say(producer, topics.PLANNED, "workload/index/2026-11-27T06:00:00Z", {"member": "index"})
    client = database(conf)

    def rows(query: str) -> list[tuple[Any, ...]]:
        return list(client.query(query).result_rows)

    alerts = "SELECT log_id, id, incident, type, severity, toString(time), text FROM alerts FINAL"
    alert = ("the-log", ALERT["id"], ALERT["data"]["incident"], ALERT["type"], "minor", "2026-11-21 08:00:00.000", "…")
    until(lambda: rows(alerts) == [alert])
    until(lambda: rows("SELECT count() FROM budget_status FINAL") == [(2,)])
    until(lambda: rows("SELECT state, attempts FROM deliveries FINAL") == [("delivered", 2)])
    assert rows("SELECT key, state, spent_usd, limit_usd, percent, breach_p50 FROM budget_status FINAL LIMIT 1") == [
        ("acme-monthly", "warning", Decimal("81.250000000001"), Decimal(100), Decimal("81.25"), None)
    ]
    until(lambda: rows("SELECT count() FROM planned FINAL") == [(2,)])
    say(producer, topics.PLANNED, "workload/backfill/2026-11-27T06:00:00Z", None)
    until(lambda: rows("SELECT value FROM planned FINAL") == [('{"member": "index"}',)])
    say(producer, topics.BUDGETS, "acme-monthly", None)
    say(producer, topics.BUDGET_STATUS, "acme-monthly", None)
    until(lambda: rows("SELECT id FROM budgets FINAL") == [("global",)])
    until(lambda: rows("SELECT key FROM budget_status FINAL") == [("global",)])
    say(producer, topics.BUDGETS, "acme-monthly", {"id": "acme-monthly", "limit_usd": "7"})
    until(lambda: len(rows("SELECT id FROM budgets FINAL")) == 2)


def test_a_record_that_cannot_be_read_is_left_out_and_counted(stack: Stack, conf: Settings, producer: Producer) -> None:
    stack.start("sink")
    producer.produce(topics.BUDGETS, b"not json", "wrong")
    say(producer, topics.BUDGETS, "right", {"id": "right"})
    until(lambda: database(conf).query("SELECT id FROM budgets FINAL").result_rows == [("right",)])
    assert "spend.budgets partition 0 offset 0 is left out: " in said(stack)
    shown = urlopen(f"http://127.0.0.1:{conf.sink_web_port}/metrics").read().decode()
    assert 'spend_copy_unreadable_total{topic="spend.budgets"} 1.0' in shown
    assert 'spend_copied_records_total{topic="spend.budgets"} 2.0' in shown
    until(lambda: 'spend_copy_lag_records{topic="spend.budgets"} 0.0' in metrics(conf))


def test_a_sink_that_is_killed_copies_again_what_it_had_not_committed(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    stack.start("sink")
    for version in range(1, 21):
        publish(producer, conf, windows(version, calls=version), size=5)
        if version % 6 == 0:
            stack.kill("sink")
            stack.start("sink")
        time.sleep(0.1)
    until(lambda: total(conf) == (50, 50 * 20, 50 * 20 * PICO))
    # an orderly end commits what was inserted, so that the next one has nothing to repeat
    stack.stop("sink")
    ends = committed(conf)
    assert ends[topics.WINDOWS] == 20 * 10
    assert "CRITICAL" not in said(stack)
    stack.start("sink")
    publish(producer, conf, windows(version=21, calls=1))
    until(lambda: total(conf) == (50, 50, 50 * PICO))
    assert copied(conf, topics.WINDOWS) == 2  # the last block of each partition, none before


def test_while_clickhouse_is_away_copies_wait_and_nothing_is_lost(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    log = PricedLog(conf)
    stack.kill("clickhouse")
    publish(producer, conf, windows(version=1, calls=1))
    stack.spawn("sink", sys.executable, "-m", "streams.cli", "sink")
    until(lambda: "the tables of copies are not looked up" in said(stack) and "again in" in said(stack))
    stack.start("clickhouse")
    until(lambda: total(conf) == (50, 50, 50 * PICO))
    stack.kill("clickhouse")
    publish(producer, conf, windows(version=2, calls=2))
    say(producer, topics.BUDGETS, "a", {"id": "a"})
    until(lambda: "ClickHouse did not take its copies" in said(stack) and "Kafka waits" in said(stack))
    stack.start("clickhouse")
    until(lambda: total(conf) == (50, 100, 100 * PICO))
    until(lambda: database(conf).query("SELECT count() FROM budgets FINAL").result_rows == [(1,)])
    log.publish(0, 10)
    until(lambda: sums(conf)["usage"][0] == 10)
    stack.check()  # the sink has lived through all of it
    stack.stop("sink")
    assert "CRITICAL" not in said(stack)


def test_an_orderly_end_does_not_wait_for_a_clickhouse_that_is_away(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    stack.start("sink")
    publish(producer, conf, windows(version=1, calls=1))
    until(lambda: total(conf) == (50, 50, 50 * PICO))
    stack.kill("clickhouse")
    publish(producer, conf, windows(version=2, calls=2))
    until(lambda: "ClickHouse did not take its copies" in said(stack))
    began = time.monotonic()
    stack.stop("sink")
    assert time.monotonic() - began < 12
    assert "CRITICAL" not in said(stack)
    stack.start("clickhouse")
    stack.start("sink")
    until(lambda: total(conf) == (50, 100, 100 * PICO))


def test_sinks_share_the_copies_and_one_takes_over_from_another(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    stack.start("sink")
    stack.start("sink-2")
    publish(producer, conf, windows(version=1, calls=1))
    until(lambda: total(conf) == (50, 50, 50 * PICO))
    stack.kill("sink")
    publish(producer, conf, windows(version=2, calls=2))
    say(producer, topics.BUDGETS, "a", {"id": "a"})
    until(lambda: total(conf) == (50, 100, 100 * PICO))
    until(lambda: database(conf).query("SELECT count() FROM budgets FINAL").result_rows == [(1,)])
    stack.kill("sink-2")


def test_a_sink_that_was_paused_and_replaced_inserts_older_versions_and_changes_nothing(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    stack.start("sink")
    publish(producer, conf, windows(version=1, calls=1))
    until(lambda: total(conf) == (50, 50, 50 * PICO))
    stack.kill("clickhouse")
    publish(producer, conf, windows(version=2, calls=9))
    until(lambda: "table windows: ClickHouse did not take its copies" in said(stack))
    stack.pause("sink")  # with version 2 in its hands
    stack.start("clickhouse")
    database(conf).command("SYSTEM STOP MERGES windows")  # which would take older rows away
    publish(producer, conf, windows(version=3, calls=5))
    stack.start("sink-2")
    until(lambda: total(conf) == (50, 250, 250 * PICO))
    before = rows_of(conf, version=2)
    stack.resume("sink")
    until(lambda: rows_of(conf, version=2) > before)
    assert total(conf) == (50, 250, 250 * PICO)
    database(conf).command("SYSTEM START MERGES windows")
    database(conf).command("OPTIMIZE TABLE windows FINAL")
    assert (rows_of(conf, version=2), rows_of(conf, version=3)) == (0, 50)
    stack.check()  # the one that woke up goes on as well
    stack.kill("sink-2")


def test_a_position_that_is_gone_is_told_and_what_is_left_is_copied(
    stack: Stack, conf: Settings, producer: Producer
) -> None:
    publish(producer, conf, windows(version=1, calls=1))
    consumer = reader(conf, COPY_GROUP)
    consumer.commit(offsets=[TopicPartition(topics.WINDOWS, 0, 1_000)], asynchronous=False)
    consumer.close()
    stack.start("sink")
    until(lambda: total(conf) == (50, 50, 50 * PICO))
    assert "spend.windows partition 0: offset" in said(stack) and "the copy goes on at 0" in said(stack)


def test_tables_that_are_missing_are_named_with_their_mend(stack: Stack, conf: Settings) -> None:
    migrate.down(connect(conf), conf, lambda: None, count=6)
    ended = sink(stack)
    assert ended.returncode == 3
    assert "has no table alerts, budget_status, budgets, deliveries, planned, windows" in ended.stderr
    assert "spendstream migrate up" in ended.stderr


def test_what_is_no_windows_block_halts(stack: Stack, conf: Settings, producer: Producer) -> None:
    producer.produce(topics.WINDOWS, block(windows(version=1, calls=1)), partition=1)
    producer.produce(topics.WINDOWS, b"something else", partition=1)
    producer.flush()
    ended = sink(stack)
    assert ended.returncode == 3
    assert "spend.windows partition 1 offset 1: it is not an Arrow stream" in ended.stderr


def test_a_block_of_windows_with_other_columns_halts(stack: Stack, conf: Settings, producer: Producer) -> None:
    """ClickHouse would take it: a column that is not there is 0 to it."""
    stream = pa.ipc.open_stream(block(windows(version=1, calls=1)))
    names = ["faults" if name == "errors" else name for name in stream.schema.names]
    other = pa.BufferOutputStream()
    with pa.ipc.new_stream(other, pa.schema(list(map(pa.Field.with_name, stream.schema, names)))) as written:
        written.write_batch(stream.read_next_batch().rename_columns(names))
    producer.produce(topics.WINDOWS, other.getvalue().to_pybytes(), partition=1)
    producer.flush()
    ended = sink(stack)
    assert ended.returncode == 3
    assert "spend.windows partition 1 offset 0: its columns are not those that are expected (errors, faults): " in (
        ended.stderr
    )
    assert "run the same release of spendstream everywhere" in ended.stderr
    assert held(conf) == []
    assert committed(conf) == {topics.WINDOWS: 0}  # the right release begins with it


def say(producer: Producer, topic: str, key: str, value: Any) -> None:
    producer.produce(topic, None if value is None else json.dumps(value).encode(), key)
    assert producer.flush(20) == 0


def rows_of(conf: Settings, version: int) -> int:
    """Rows of a version, those that a newer one replaces included."""
    asked = "SELECT count() FROM windows WHERE version = {version:Int64}"
    [[found]] = database(conf).query(asked, parameters={"version": version}).result_rows
    return int(found)


def committed(conf: Settings) -> dict[str, int]:
    """By topic, the sum of the positions that the copying group has committed."""
    consumer = reader(conf, COPY_GROUP)
    try:
        places = [TopicPartition(topics.WINDOWS, partition) for partition in range(conf.partitions)]
        found: dict[str, int] = {}
        for tp in consumer.committed(places, timeout=10):
            found[tp.topic] = found.get(tp.topic, 0) + max(0, tp.offset)
        return found
    finally:
        consumer.close()


def metrics(conf: Settings) -> str:
    return urlopen(f"http://127.0.0.1:{conf.sink_web_port}/metrics").read().decode()


def copied(conf: Settings, topic: str) -> int:
    wanted = f'spend_copied_records_total{{topic="{topic}"}} '
    return int(float(next(line for line in metrics(conf).splitlines() if line.startswith(wanted)).split()[-1]))


def sink(stack: Stack) -> subprocess.CompletedProcess[str]:
    """`spendstream sink`, which is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "sink"],
        env=stack.env | {"PATH": os.environ["PATH"]},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def said(stack: Stack, name: str = "sink") -> str:
    return stack.log(name).read_text()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
