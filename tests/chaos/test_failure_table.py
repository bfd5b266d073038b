"""Every row of the failure table in docs/reliability.md, brought about on real processes; then the audit.

Rows 1 to 9 are one scene: five workers and four sinks die or stop side by side, each at a step of its own, and one
worker and one sink go on behind them. Meanwhile rows 10 to 19 follow each other on a second stack.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from traffic import (
    HERE,
    Traffic,
    assert_exact,
    audit,
    await_death,
    await_end,
    await_stop,
    begin,
    crash,
    database,
    headers,
    messages,
    said,
    spawn,
    state,
    until,
)

from clickhouse.client import connect
from clickhouse.insert_settings import TOKEN_WINDOW
from clickhouse.progress import Progress, write_progress
from streams import apache_kafka, topics
from streams.blocks import Header
from streams.dead_letters import DeadLetter
from streams.embedded import answers
from streams.errors import SpendError
from streams.kafka import admin, reader, topic_ids, watermarks
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

DYING_WORKERS = {
    "w1": "block-decided",
    "w2": "dead-letters-acknowledged",
    "w3": "block-sent",
    "w4": "block-acknowledged",
}
STOPPING_WORKER = "w5"
DYING_SINKS = {"s1": "insert", "s2": "insert-sent", "s3": "inserted"}
STOPPING_SINKS = {"s4": "insert-stop", "s5": "insert-stop-long"}


def chaos_settings(folder: Any, **more: Any) -> Settings:
    """Small blocks, many of them; short patience."""
    wanted = {"session_timeout_seconds": 2, "block_events": 200, "block_seconds": 0.2, "poison_window": 300} | more
    return on_free_ports(Settings(state_dir=folder, **wanted))


@dataclass
class Scene:
    """What was left of rows 1 to 9: logs by process, blocks by partition, dead letters, and the audits."""

    logs: dict[str, str]
    headers: dict[int, list[Header]]
    published_letters: Counter[tuple[int, int]]
    listed_letters: Counter[str]
    before_waking: dict[str, Any]
    after_waking: dict[str, Any]
    traffic: Traffic


@pytest.fixture(scope="module", autouse=True)
def playing(stack: Stack, tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Future[Scene]]:
    """Rows 1 to 9 are played while rows 10 to 19 are tested: most of both is waiting. One stack starts at a time."""
    folder = tmp_path_factory.mktemp("rows-1-9")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(play, folder, broker)


@pytest.fixture(scope="module")
def scene(playing: Future[Scene]) -> Scene:
    return playing.result()


def play(folder: Path, broker: str) -> Scene:
    """Let workers and sinks die and stop, each at its step, and see what is left."""
    settings = chaos_settings(folder, partitions=5, broker=broker)
    with Stack(settings, parts=(*SERVERS, *STEPS)) as stack:
        traffic = Traffic(settings)
        processes = [*DYING_WORKERS, STOPPING_WORKER, *DYING_SINKS, *STOPPING_SINKS]
        ports = [crash(stack, name, step, "worker") for name, step in DYING_WORKERS.items()]
        ports.append(crash(stack, STOPPING_WORKER, "block-decided-stop", "worker"))
        ports += [crash(stack, name, step, "sink") for name, step in DYING_SINKS.items()]
        ports += [crash(stack, name, step, "sink") for name, step in STOPPING_SINKS.items()]
        for port in ports:
            until(lambda port=port: answers(f"http://127.0.0.1:{port}/ready"), f"port {port} to be ready")
        traffic.publish(events=4000, again=200, poison=60)
        for name in DYING_WORKERS:
            await_death(stack, name)
        await_stop(stack, STOPPING_WORKER)
        begin(stack, "worker", "worker")
        for name in DYING_SINKS:
            await_death(stack, name)
        for name in STOPPING_SINKS:
            await_stop(stack, name)
        begin(stack, "sink", "sink")
        before_waking = audit(stack)
        for name in (STOPPING_WORKER, *STOPPING_SINKS):
            stack.resume(name)
        for name in (STOPPING_WORKER, "s4"):
            until(lambda name=name: "crash_at: went on" in said(stack, name), f"{name} to go on")
        await_end(stack, "s5")
        traffic.publish(events=2000, again=200, poison=10)
        after_waking = audit(stack)
        letters = [json.loads(line) for line in stack.run("dead-letters", "list", "--json").splitlines()]
        stack.check()
        return Scene(
            logs={name: said(stack, name) for name in processes},
            headers={p: headers(settings, p) for p in range(5)},
            published_letters=published_letters(settings),
            listed_letters=Counter(letter["place"] for letter in letters),
            before_waking=before_waking,
            after_waking=after_waking,
            traffic=traffic,
        )


def published_letters(settings: Settings) -> Counter[tuple[int, int]]:
    """How often each (partition, offset) was published as a dead letter."""
    count: Counter[tuple[int, int]] = Counter()
    for partition in admin(settings).list_topics(topics.DEAD_LETTER, timeout=10).topics[topics.DEAD_LETTER].partitions:
        for message in messages(settings, topics.DEAD_LETTER, partition):
            letter = DeadLetter.from_kafka(message.key(), message.value(), message.headers())
            count[letter.partition, letter.offset] += 1
    return count


def repeats(blocks: list[Header]) -> list[Header]:
    """Blocks that begin at or below the mark of those before: what a worker published behind its successor."""
    found, mark = [], -1
    for header in blocks:
        assert header.first <= mark + 1, "a hole"
        if header.first <= mark:
            found.append(header)
        mark = max(mark, header.last)
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("rows-10-19")
    with Stack(chaos_settings(folder, broker=broker, partitions=2, block_events=500)) as running:
        yield running


@pytest.fixture(scope="module")
def traffic(stack: Stack) -> Traffic:
    return Traffic(stack.settings)


def ends(stack: Stack) -> dict[int, int]:
    """The end of each partition of spend.usage."""
    consumer = reader(stack.settings)
    try:
        return {p: watermarks(consumer, topics.USAGE, p)[1] for p in range(stack.settings.partitions)}
    finally:
        consumer.close()


def marks(stack: Stack) -> dict[int, int]:
    """The greatest source offset of each partition that is in a block."""
    return {p: max((h.last for h in headers(stack.settings, p)), default=-1) for p in range(stack.settings.partitions)}


def watched_over(stack: Stack) -> bool:
    """Start whoever has ended, as a service manager does, and do what docs/operations.md says of its last words."""
    names = ("worker", "windows", "sink")
    ended = [name for name in names if stack.exit_code(name) is not None]
    last_words = "\n".join(said(stack, name).splitlines()[-1] for name in ended)
    for name in ended:
        stack.kill(name)
    if "make spend.priced anew" in last_words:
        for name in set(names) - set(ended):
            stack.kill(name)
        client, anew = admin(stack.settings), [topics.PRICED, topics.TOTALS, topics.STATE]
        for future in client.delete_topics(anew).values():
            future.result(10)
        until(lambda: not set(anew) & client.list_topics(timeout=10).topics.keys(), "the topics to be gone")
        for name in ("topics", "worker"):
            stack.start(name)
        until(lambda: decided(stack), "everything to be priced again")
        stack.run("repair")
        ended = ["windows", "sink"]
    for name in ended:
        with suppress(SpendError):  # the next look sees to it
            stack.start(name)
    return True


def decided(stack: Stack) -> bool:
    """Whether every record of spend.usage is in a block."""
    return all(ends(stack)[p] == mark + 1 for p, mark in marks(stack).items())


def table_folders(stack: Stack) -> dict[str, Path]:
    """Where ClickHouse keeps the raw rows and each rollup."""
    with database(stack.settings) as query:
        found = query(
            "SELECT name, data_paths[1] FROM system.tables WHERE database = 'spend' AND name IN {names:Array(String)}",
            names=["usage", "usage_15m", "members_15m"],
        )
    return {name: Path(path) for name, path in found}


def counts(stack: Stack) -> tuple[int, int, int]:
    """Calls in the raw rows and in both rollups."""
    with database(stack.settings) as query:
        [row] = query(
            "SELECT (SELECT count() FROM usage), (SELECT toInt64(sum(calls)) FROM usage_15m), "
            "(SELECT toInt64(sum(calls)) FROM members_15m)"
        )
    return row  # type: ignore[return-value]


def killed_when_a_part_appears(stack: Stack) -> threading.Thread:
    """A thread that kills ClickHouse as soon as an insert has stored its first part, in whichever table."""
    process, folders = stack.pid("clickhouse"), table_folders(stack).values()

    def parts() -> set[str]:
        return {f"{folder}/{name}" for folder in folders for name in os.listdir(folder) if name[0].isdigit()}  # noqa: PTH208

    before = parts()

    def watch() -> None:
        while not parts() - before:
            time.sleep(0.0002)
        os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


class TestClickHouseAndTheRest:
    """Rows 10 to 19, one after the other."""

    def test_row_10_clickhouse_dies_between_the_raw_rows_and_the_rollups(self, stack: Stack, traffic: Traffic) -> None:
        for _ in range(4):
            stack.kill("sink")
            traffic.publish(events=1500, again=50, poison=3)
            until(lambda: decided(stack), "the worker to decide everything")
            watch = killed_when_a_part_appears(stack)
            spawn(stack, "sink", "-m", "streams.cli", "sink")
            watch.join(30)
            stack.pause("sink")
            stack.kill("clickhouse")
            stack.start("clickhouse")
            raw, *rollups = counts(stack)
            stack.resume("sink")
            assert_exact(audit(stack), traffic)
            if set(rollups) != {raw}:
                return
        raise AssertionError("ClickHouse was never killed between the raw rows and the rollups")

    def test_row_11_clickhouse_dies_between_a_token_and_its_part(self, stack: Stack, traffic: Traffic) -> None:
        stack.kill("sink")
        traffic.publish(events=600)
        until(lambda: decided(stack), "the worker to decide everything")
        with database(stack.settings) as query:
            query("SYSTEM STOP MERGES usage")  # the last part that came stays as it is
        crash(stack, "inserted", "inserted", "sink")
        await_death(stack, "inserted")
        raw, *_ = counts(stack)
        folder = table_folders(stack)["usage"]
        stack.kill("clickhouse")
        last = sorted((folder / "deduplication_logs").iterdir(), key=lambda p: int(p.stem.rpartition("_")[2]))[-1]
        part = folder / last.read_bytes().splitlines()[-1].split(b"\t")[1].decode()
        shutil.rmtree(part)
        stack.start("clickhouse")
        assert counts(stack)[0] < raw
        begin(stack, "sink", "sink")
        assert_exact(audit(stack), traffic)

    def test_row_12_clickhouse_hangs_then_refuses_then_is_down(self, stack: Stack, traffic: Traffic) -> None:
        sink = stack.pid("sink")
        stack.pause("clickhouse")
        traffic.publish(events=500, poison=1)
        time.sleep(1.0)
        stack.resume("clickhouse")
        assert_exact(audit(stack), traffic)
        with database(stack.settings) as query:
            query("ALTER TABLE usage ADD CONSTRAINT nothing_goes_in CHECK source_offset < 0")
            try:
                traffic.publish(events=500)
                until(lambda: "ClickHouse did not take it" in said(stack, "sink"), "a refused insert", seconds=15)
            finally:
                query("ALTER TABLE usage DROP CONSTRAINT nothing_goes_in")
        assert_exact(audit(stack), traffic)
        stack.kill("clickhouse")
        traffic.publish(events=500)
        time.sleep(1.0)
        stack.start("clickhouse")
        assert_exact(audit(stack), traffic)
        assert stack.pid("sink") == sink and state(stack, "sink") != "Z"

    def test_row_19_broker_that_keeps_its_log_is_killed_and_comes_back(
        self, stack: Stack, traffic: Traffic, broker: str
    ) -> None:
        if broker == "embedded":
            pytest.skip("the embedded broker keeps nothing: row 13")
        before = {name: stack.pid(name) for name in ("worker", "windows", "sink")}
        for _ in range(2):
            publishing = threading.Thread(target=traffic.publish, kwargs={"events": 1000, "again": 50, "poison": 3})
            publishing.start()
            time.sleep(0.1)
            stack.kill("broker")
            stack.start("broker")
            publishing.join()
            assert_exact(audit(stack), traffic)
        assert {name: stack.pid(name) for name in before} == before
        stack.check()

    def test_row_14_producer_dies_and_sends_everything_again(
        self, stack: Stack, traffic: Traffic, tmp_path: Path
    ) -> None:
        count = 30_000
        now = datetime.now(UTC).isoformat()
        lines = ["id,source,time,provider,request_model,operation,input_tokens,output_tokens\n"]
        lines += [f"call-{i},gateway,{now},openai,gpt-4o,chat,{i % 997},{i % 13}\n" for i in range(count)]
        calls, half = tmp_path / "calls.csv", tmp_path / "half.csv"
        calls.write_text("".join(lines))
        os.mkfifo(half)
        before = sum(ends(stack).values())
        command = f"cat {half} | {sys.executable} -m streams.cli produce --format csv -"
        stack.spawn("producer", "sh", "-c", command)
        with half.open("w") as pipe:
            pipe.writelines(lines[: count * 3 // 4])
            pipe.flush()
            until(lambda: sum(ends(stack).values()) > before, "the first events")
            stack.kill("producer")
        assert 0 < sum(ends(stack).values()) - before < count
        stack.run("produce", str(calls))
        traffic.sent += count
        traffic.again += sum(ends(stack).values()) - before - count
        assert_exact(audit(stack), traffic)

    def test_row_15_sink_away_for_longer_than_tokens_are_remembered(self, stack: Stack, traffic: Traffic) -> None:
        stack.kill("sink")
        traffic.publish(events=300)
        until(lambda: decided(stack), "the worker to decide everything")
        others = Progress("another log's blocks", "another log", 0, block_offset=1, mark=1, tokens=TOKEN_WINDOW)
        client = connect(stack.settings)
        client.database = "spend"
        write_progress(client, others, datetime.now(UTC))
        spawn(stack, "sink", "-m", "streams.cli", "sink")
        assert "spendstream repair" in await_end(stack, "sink")
        client.command("ALTER TABLE progress DELETE WHERE log_id = 'another log' SETTINGS mutations_sync = 2")
        client.close()
        begin(stack, "sink", "sink")
        assert_exact(audit(stack), traffic)

    def test_row_16_view_is_replaced_between_two_inserts_of_a_block(self, stack: Stack, traffic: Traffic) -> None:
        stack.kill("sink")
        traffic.publish(events=300)
        until(lambda: decided(stack), "the worker to decide everything")
        crash(stack, "inserted-2", "inserted", "sink")
        await_death(stack, "inserted-2")
        with database(stack.settings) as query:
            for view in ("usage_15m_view", "members_15m_view"):
                [[definition]] = query(
                    "SELECT create_table_query FROM system.tables WHERE database = 'spend' AND name = {name:String}",
                    name=view,
                )
                query(f"DROP TABLE {view} SYNC")
                query(definition)
        begin(stack, "sink", "sink")
        assert_exact(audit(stack), traffic)

    def test_row_17_release_that_cannot_read_what_producers_send(self, stack: Stack, traffic: Traffic) -> None:
        stack.kill("worker")
        letters = sum(published_letters(stack.settings).values())
        traffic.publish(events=100, poison=1000)
        spawn(stack, "worker", "-m", "streams.cli", "worker")
        assert "SPEND_POISON_SHARE" in await_end(stack, "worker")
        assert sum(published_letters(stack.settings).values()) - letters < 500
        begin(stack, "worker", "worker", SPEND_POISON_SHARE=1)
        assert_exact(audit(stack), traffic)

    def test_row_18_events_expire_before_a_worker_has_priced_them(
        self, stack: Stack, traffic: Traffic, broker: str
    ) -> None:
        stack.kill("worker")
        traffic.publish(events=400)
        first = marks(stack)[0] + 1
        # the embedded broker never expires a record; row 17 is remembered, hence SPEND_POISON_SHARE
        as_expired = (str(HERE / "expired.py"), f"0:{first + 50}") if broker == "embedded" else ("-m", "streams.cli")
        if broker == "kafka":
            client = admin(stack.settings)  # must live until its futures are done
            [deleted] = client.delete_records([TopicPartition(topics.USAGE, 0, first + 50)]).values()
            assert deleted.result(10).low_watermark == first + 50
        spawn(stack, "worker", *as_expired, "worker", SPEND_POISON_SHARE=1)
        assert f"offsets {first} to {first + 49} expired unpriced" in await_end(stack, "worker")
        spawn(stack, "worker", *as_expired, "worker", "--accept-gap", SPEND_POISON_SHARE=1)
        until(lambda: decided(stack), "the worker to go on behind the gap")
        report = audit(stack, *as_expired)
        assert_exact(report)
        assert report["partitions"][0]["start"] == first + 50
        assert [h.first for h in headers(stack.settings, 0) if h.first <= first + 49 <= h.last] == [first]
        with database(stack.settings) as query:
            assert query(
                "SELECT count() FROM usage "
                "WHERE source_partition = 0 AND source_offset BETWEEN {a:Int64} AND {b:Int64}",
                a=first,
                b=first + 49,
            ) == [(0,)]

    def test_row_13_broker_dies_with_everything_in_it(self, stack: Stack) -> None:
        with database(stack.settings) as query:
            old = query("SELECT log_id, count(), sum(cost_total) FROM usage GROUP BY log_id")
            stack.kill("broker")
            files = apache_kafka.folder(stack.settings, "broker")
            shutil.rmtree(files, ignore_errors=True)  # the embedded one has none
            time.sleep(1.0)
            for name in ("worker", "windows", "sink"):
                assert state(stack, name) != "Z", said(stack, name)
                stack.kill(name)
            for name in ("broker", "topics", "worker", "windows", "sink"):
                stack.start(name)
            traffic = Traffic(stack.settings, seed=100)
            traffic.publish(events=800, again=50, poison=5)
            report = audit(stack)
            assert_exact(report, traffic)
            [(log, rows, cost)] = old
            assert report["logs_gone"] == {log: {"rows": rows, "duplicated": 0, "cost": str(cost)}}
            assert set(old) <= set(query("SELECT log_id, count(), sum(cost_total) FROM usage GROUP BY log_id"))

    def test_row_13_processes_that_live_while_it_comes_back_empty(self, stack: Stack) -> None:
        """Who notices ends, and is started again; a block of the old log that came to the new one halts its readers."""
        Traffic(stack.settings, seed=101).publish(events=400)
        stack.kill("broker")
        shutil.rmtree(apache_kafka.folder(stack.settings, "broker"), ignore_errors=True)
        for name in ("broker", "topics"):
            stack.start(name)
        traffic = Traffic(stack.settings, seed=102)
        traffic.publish(events=800, again=50, poison=5)
        log = topic_ids(stack.settings, topics.USAGE)[topics.USAGE]
        with database(stack.settings) as query:
            count = "SELECT count() FROM usage WHERE log_id = {log:String}"
            arrived = lambda: watched_over(stack) and query(count, log=log) == [(traffic.sent,)]  # noqa: E731
            until(arrived, "the new log's rows", seconds=150)
        report = audit(stack, wait=60)
        assert_exact(report, traffic)
        assert {gone["duplicated"] for gone in report["logs_gone"].values()} == {0}


class TestWorkersAndSinksThatDie:
    """Rows 1 to 9."""

    def test_row_1_worker_dies_with_a_batch_decided_and_nothing_sent(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w1"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_2_worker_dies_between_its_dead_letters_and_its_block(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w2"]
        assert max(scene.published_letters.values()) > 1  # decided again, published again
        assert set(scene.listed_letters.values()) == {1}
        assert len(scene.listed_letters) == scene.traffic.poison
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_3_worker_dies_before_it_sees_the_acknowledgement_of_its_block(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w3"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_4_worker_dies_before_it_commits_an_acknowledged_block(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["w4"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_5_paused_worker_wakes_up_behind_its_successor(self, scene: Scene) -> None:
        assert_exact(scene.before_waking)
        assert "block " in scene.logs["w5"] and "is another worker's" in scene.logs["w5"]
        assert any(repeats(blocks) for blocks in scene.headers.values())
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_6_sink_dies_before_an_insert(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["s1"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_7_sink_dies_before_it_sees_the_answer_to_an_insert(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["s2"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_8_sink_dies_between_an_insert_and_its_progress(self, scene: Scene) -> None:
        assert "crash_at: SIGKILL" in scene.logs["s3"]
        assert_exact(scene.after_waking, scene.traffic)

    def test_row_9_paused_sink_wakes_up_behind_its_successor_and_ends(self, scene: Scene) -> None:
        assert_exact(scene.before_waking)
        assert "crash_at: went on" in scene.logs["s4"]
        # it ends by itself: it sees the pause, or a request of before it that is too old
        assert "the sink was paused for" in scene.logs["s5"] or "CRITICAL spendstream.sink" in scene.logs["s5"]
        assert_exact(scene.after_waking, scene.traffic)
