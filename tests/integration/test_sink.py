"""The sink on the real engine and broker: each block inserted as it is, exactly once, whatever stops in between."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from confluent_kafka import TopicPartition
from priced_log import NOON, PICO, PricedLog, coordinates, database, equal_sums, held, kill, renew, sums
from priced_rows import insert

from clickhouse import migrate
from clickhouse.progress import Progress, read_progress, write_progress
from clickhouse.repair import repair
from schemas.priced import priced_arrow
from streams.kafka import reader
from streams.kafka_rights import SINK_GROUP
from streams.ports import free_port
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports
from streams.topics import PRICED
from tests.chaos.traffic import await_stop

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("sink"), partitions=2, session_timeout_seconds=2)
    with Stack(on_free_ports(settings), parts=("broker", "clickhouse")) as stack:
        yield stack
        kill(stack, "worker", "sink", "sink-2", "sink-3", "broker", "clickhouse")


@pytest.fixture
def log(stack: Stack, request: pytest.FixtureRequest) -> PricedLog:
    """An empty log, and an empty database of the test's own."""
    stack.log("sink").unlink(missing_ok=True)
    return PricedLog(renew(stack, re.sub(r"\W+", "_", request.node.name)[-60:]))


def test_a_block_is_inserted_as_it_is_and_progress_says_so(stack: Stack, log: PricedLog) -> None:
    stack.start("sink")
    log.publish(0, 5, dropped=3)
    log.publish(0, 5)
    log.publish(1, 7)
    arrived(log)
    names = priced_arrow().names
    found = database(log.settings).query(
        f"SELECT {', '.join(names)} FROM usage ORDER BY source_partition, source_offset"
    )
    wanted = [
        {name: row.get(name) for name in names} | {"tags": dict(row["tags"]), "quantities": {}} for row in log.rows
    ]
    assert [dict(zip(names, row, strict=True)) for row in found.result_rows] == wanted
    # offsets 0 to 4 and 8 to 12 of partition 0, 0 to 6 of partition 1
    cost = PICO * (sum(range(1, 6)) + sum(range(9, 14)) + sum(range(1, 8)))
    until(lambda: sums(log.settings) == equal_sums(17, cost))
    covered(log, 0, Progress(log.block_log_id, log.log_id, 0, 1, 12, blocks=2, tokens=2, rows=10, duplicates=3))
    covered(log, 1, Progress(log.block_log_id, log.log_id, 1, 0, 6, blocks=1, tokens=1, rows=7))
    until(lambda: committed(log) == [2, 1])  # for whoever watches the group's lag, or adds sinks by it


def test_a_block_that_repeats_offsets_is_trimmed(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    log.publish(0, 10, first=5)  # what a worker that was paused published behind its successor: 5 to 9 are repeats
    log.publish(0, 3, first=2)  # all of it is a repeat
    stack.start("sink")
    arrived(log)
    until(lambda: sums(log.settings) == equal_sums(15, PICO * sum(range(1, 16))))
    covered(log, 0, Progress(log.block_log_id, log.log_id, 0, 2, 14, blocks=3, tokens=2, rows=15))


def test_while_clickhouse_is_away_the_sink_waits_and_says_so(stack: Stack, log: PricedLog) -> None:
    stack.kill("clickhouse")
    log.publish(0, 10)
    stack.spawn("sink", sys.executable, "-m", "streams.cli", "sink")
    until(lambda: "ClickHouse does not answer" in said(stack) and "again in" in said(stack))
    stack.start("clickhouse")
    arrived(log)
    stack.kill("clickhouse")  # SIGKILL, in the middle of the stream
    log.publish(0, 10)
    log.publish(1, 10)
    until(lambda: "ClickHouse did not take it" in said(stack) and "Kafka waits" in said(stack))
    stack.start("clickhouse")
    log.publish(1, 10)
    arrived(log)
    until(lambda: sums(log.settings) == equal_sums(40, 2 * PICO * sum(range(1, 21))))
    stack.check()  # the sink has lived through all of it
    stack.stop("sink")
    assert "CRITICAL" not in said(stack)


def test_a_partition_that_was_paused_for_what_waits_goes_on_after_it_was_taken_away_and_given_back(
    stack: Stack, log: PricedLog
) -> None:
    full_at_once = "from clickhouse import sink; sink._WAITING_BYTES = 1; from streams.cli import main; main()"
    stack.spawn("sink", sys.executable, "-c", full_at_once, "sink")
    log.publish(0, 10)
    log.publish(1, 10)
    arrived(log)
    stack.kill("clickhouse")
    for partition in (0, 1, 0, 1):
        log.publish(partition, 10)
    until(lambda: said(stack).count("ClickHouse did not take it") >= 2)
    stack.spawn("sink-2", "env", f"SPEND_SINK_WEB_PORT={free_port()}", sys.executable, "-m", "streams.cli", "sink")
    until(lambda: "its progress is not read" in said(stack))  # given back, in the midst of a rebalance
    stack.kill("sink-2")
    stack.start("clickhouse")
    arrived(log)
    log.publish(0, 10)
    log.publish(1, 10)
    arrived(log)
    stack.check()


def test_sinks_share_the_partitions_and_one_takes_over_from_another_that_was_killed(
    stack: Stack, log: PricedLog
) -> None:
    stack.start("sink")
    stack.start("sink-2")
    until(lambda: "partition" in said(stack, "sink-2"))
    for partition in (0, 1, 0, 1):
        log.publish(partition, 10)
    arrived(log)
    stack.kill("sink")
    log.publish(0, 10)
    log.publish(1, 10)
    stack.start("sink-3")
    arrived(log)
    until(lambda: sums(log.settings) == equal_sums(60, 2 * PICO * sum(range(1, 31))))


def test_a_killed_sink_repeats_what_its_progress_does_not_cover(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    stack.start("sink")
    arrived(log)
    stack.kill("sink")
    # as if it had died between its inserts and its progress
    database(log.settings).command("TRUNCATE TABLE progress")
    log.publish(0, 10)
    stack.start("sink")
    arrived(log)
    until(lambda: sums(log.settings) == equal_sums(20, PICO * sum(range(1, 21))))
    covered(log, 0, Progress(log.block_log_id, log.log_id, 0, 1, 19, blocks=2, tokens=2, rows=20))


def test_a_hole_in_the_log_halts(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    log.publish(0, 10, first=11, said=False)
    ended = sink(stack)
    assert ended.returncode == 3
    assert "a block begins at source offset 11, but 10 is next" in ended.stderr
    assert held(log.settings) == coordinates(log.rows)


def test_a_block_of_another_log_halts(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    log.publish(0, 10, log_id="of-a-broker-that-is-gone", said=False)
    ended = sink(stack)
    assert ended.returncode == 3
    assert "a block of another log came (of-a-broker-that-is-gone)" in ended.stderr
    assert held(log.settings) == coordinates(log.rows)


def test_a_log_that_lost_its_end_halts(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    ahead = replace(Progress(log.block_log_id, log.log_id, 0), block_offset=7, mark=79, blocks=8, rows=80)
    write_progress(database(log.settings), ahead, datetime.now(UTC))
    ended = sink(stack)
    assert ended.returncode == 3
    assert "partition 0 ends at block 1, but ClickHouse holds block 7: the log lost its end" in ended.stderr


def test_forgotten_tokens_halt_only_where_blocks_wait(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10, said=False)
    log.publish(0, 10, said=False)
    covers_one = Progress(log.block_log_id, log.log_id, 0, 0, 9, blocks=1, tokens=1, rows=10)
    write_progress(database(log.settings), covers_one, datetime.now(UTC))
    # other sinks' inserts since then: more than half of what a table remembers
    others = Progress("other", "other", 0, 50_001, 50_001, blocks=20_000, tokens=50_001)
    write_progress(database(log.settings), others, datetime.now(UTC))
    ended = sink(stack)
    assert ended.returncode == 3
    assert "inserts took 50002 tokens since its progress was written, so those of blocks from 1 on" in ended.stderr
    assert "Bring it up to date with `spendstream repair`" in ended.stderr
    assert held(log.settings) == []


REMEMBERS_FOUR = """
import os, signal
from clickhouse import sink
from streams.cli import main

sink.TOKEN_WINDOW = 4
write = sink.write_progress

def killed_behind_the_insert(client, progress, now):
    if (progress.partition, progress.block_offset) == (0, 0):
        os.kill(os.getpid(), signal.SIGKILL)
    write(client, progress, now)

sink.write_progress = killed_behind_the_insert
main()
"""


@pytest.mark.parametrize(
    ("others", "rows", "apart"),
    [(6, 10, timedelta(minutes=1)), (2, 3, timedelta(days=31))],
    ids=["six blocks", "two blocks over three months"],
)
def test_a_partition_whose_token_clickhouse_has_forgotten_halts_and_repair_mends(
    stack: Stack, log: PricedLog, others: int, rows: int, apart: timedelta
) -> None:
    client = database(log.settings)
    for table in ("usage", "usage_15m", "members_15m"):
        client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 4")
    patient, sinks = log.settings.model_copy(update={"session_timeout_seconds": 6.0}), ("sink", "sink-2")
    for name in sinks:  # a partition each; who has partition 0 dies, and is missed only when its session ends
        own = (f"SPEND_SINK_WEB_PORT={free_port()}", f"SPEND_SESSION_TIMEOUT_SECONDS={patient.session_timeout_seconds}")
        stack.spawn(name, "env", *own, sys.executable, "-c", REMEMBERS_FOUR, "sink")
    until(lambda: all("from block 0" in said(stack, name) for name in sinks))
    log.publish(0, 10)
    until(lambda: any(stack.exit_code(name) == -signal.SIGKILL for name in sinks))
    [alive] = [name for name in sinks if stack.exit_code(name) is None]
    block = (client, log.settings, log.rows[:10], f"{log.block_log_id}:0:0")
    arrived(log)
    insert(*block)
    assert sums(log.settings) == equal_sums(10, PICO * sum(range(1, 11)))  # its token is known
    for _ in range(others):  # six tokens, a month of a block each
        log.publish(1, rows, at=NOON - timedelta(days=155), apart=apart)
    arrived(log)
    theirs = others * rows
    inserted = equal_sums(10 + theirs, PICO * (sum(range(1, 11)) + sum(range(1, theirs + 1))))
    until(lambda: sums(log.settings) == inserted)
    assert stack.exit_code(alive) is None
    assert read_progress(client, log.block_log_id, log.log_id, 0)[0].block_offset == -1

    until(lambda: stack.exit_code(alive) == 3, seconds=40)  # partition 0 comes to it
    assert "spend.priced partition 0: inserts took 6 tokens since its progress was written" in said(stack, alive)
    assert "Bring it up to date with `spendstream repair`" in said(stack, alive)
    assert (held(log.settings), sums(log.settings)) == (coordinates(log.rows), inserted)

    insert(*block)  # what it would have done; the token is known to none of the tables any more
    assert sums(log.settings) == equal_sums(20 + theirs, PICO * (2 * sum(range(1, 11)) + sum(range(1, theirs + 1))))
    mended = repair(patient, datetime.now(UTC), lambda *_: None)
    assert (mended.doubled, mended.missing, mended.unexpected, mended.left) == (10, 0, 0, [])
    assert (held(log.settings), sums(log.settings)) == (coordinates(log.rows), inserted)
    kill(stack, *sinks)
    stack.spawn("sink", sys.executable, "-c", REMEMBERS_FOUR, "sink")
    log.publish(0, 10)
    log.publish(1, 10)
    arrived(log)
    until(
        lambda: sums(log.settings) == equal_sums(30 + theirs, PICO * (sum(range(1, 21)) + sum(range(1, theirs + 11))))
    )
    stack.check("sink")


WAKES_UP_WITH_A_BLOCK_IN_HAND = """
import os, signal, threading, time
from clickhouse import sink
from streams.cli import main

sink._PAUSED_SECONDS = 1.0
take, refuse, slept = sink.PartitionSink._take, sink.Sink._refuse_pause, threading.Event()

def sleep_and_take(self, message):
    slept.set()
    os.kill(os.getpid(), signal.SIGSTOP)
    take(self, message)

def refuse_late(self):
    if slept.is_set() and threading.current_thread() is threading.main_thread():
        time.sleep(3)  # as if it came to its turn after the partition's thread
    refuse(self)

sink.PartitionSink._take, sink.Sink._refuse_pause = sleep_and_take, refuse_late
main()
"""


def test_a_partition_that_wakes_up_with_a_block_in_hand_does_not_insert_it(stack: Stack, log: PricedLog) -> None:
    stack.spawn("sink", sys.executable, "-c", WAKES_UP_WITH_A_BLOCK_IN_HAND, "sink")
    until(lambda: "from block 0" in said(stack))
    log.publish(0, 10, said=False)
    await_stop(stack, "sink")
    time.sleep(2)
    stack.resume("sink")
    until(lambda: stack.exit_code("sink") == 3)
    assert "the sink was paused for" in said(stack)
    assert held(log.settings) == []


def test_blocks_that_were_made_anew_of_an_old_log_halt(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    earlier = Progress("spend.priced-before", log.log_id, 0, 4, 9, blocks=5, rows=10)
    write_progress(database(log.settings), earlier, datetime.now(UTC))
    ended = sink(stack)
    assert ended.returncode == 3
    assert "would be counted a second time" in ended.stderr and "spendstream repair" in ended.stderr
    assert held(log.settings) == []


def test_a_block_that_clickhouse_claims_to_have_without_its_rows_halts(stack: Stack, log: PricedLog) -> None:
    log.publish(0, 10)
    stack.start("sink")
    arrived(log)
    stack.kill("sink")
    client = database(log.settings)
    client.command("TRUNCATE TABLE progress")
    client.command("ALTER TABLE usage DELETE WHERE source_offset = 3", settings={"mutations_sync": 2})
    ended = sink(stack)
    assert ended.returncode == 3
    assert "holds 9 of its 10 rows. Mend it with `spendstream repair`" in ended.stderr


def test_a_database_without_tables_is_named_with_its_mend(stack: Stack, log: PricedLog) -> None:
    database(log.settings).command(f"DROP DATABASE {log.settings.clickhouse_database} SYNC")
    ended = sink(stack)
    assert ended.returncode == 3
    assert "spendstream migrate up" in ended.stderr


def test_a_database_of_an_earlier_release_is_named_with_its_mend(stack: Stack, log: PricedLog) -> None:
    migrate.down(database(log.settings), log.settings, lambda: None, count=2)
    ended = sink(stack)
    assert ended.returncode == 3
    assert "tokens" in ended.stderr and "spendstream migrate up" in ended.stderr


def test_its_web_tells_how_it_is(stack: Stack, log: PricedLog) -> None:
    stack.start("sink")
    log.publish(0, 10)
    arrived(log)
    address = f"http://127.0.0.1:{log.settings.sink_web_port}"
    assert urlopen(f"{address}/health").status == 200
    assert urlopen(f"{address}/ready").status == 200
    until(lambda: 'spend_rows_inserted_total{partition="0"} 10.0' in urlopen(f"{address}/metrics").read().decode())
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{address}/other")
    # a second one on the same port
    ended = sink(stack)
    assert ended.returncode == 2
    assert "SPEND_SINK_WEB_PORT" in ended.stderr


def sink(stack: Stack, **environment: str) -> subprocess.CompletedProcess[str]:
    """`spendstream sink`, which is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "sink"],
        env=stack.env | {"PATH": os.environ["PATH"], **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def arrived(log: PricedLog) -> None:
    """Wait until the raw table has what was published (more would never be equal); rollups come a moment later."""
    wanted = coordinates(log.rows)
    until(lambda: held(log.settings) == wanted)


def covered(log: PricedLog, partition: int, wanted: Progress) -> None:
    """Wait until progress says what it should; it follows the inserts within a second."""
    times = [row["time"] for row in log.rows if row["source_partition"] == partition]
    latest = int(max(times).replace(tzinfo=UTC).timestamp()) * 1_000_000
    client = database(log.settings)
    wanted = replace(wanted, event_time_max=latest)
    until(lambda: read_progress(client, log.block_log_id, log.log_id, partition)[0] == wanted)


def said(stack: Stack, name: str = "sink") -> str:
    return stack.log(name).read_text()


def committed(log: PricedLog) -> list[int]:
    """The offsets that the group of the sinks has committed, by partition."""
    asker = reader(log.settings, SINK_GROUP)
    try:
        return [tp.offset for tp in asker.committed([TopicPartition(PRICED, 0), TopicPartition(PRICED, 1)], timeout=10)]
    finally:
        asker.close()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
