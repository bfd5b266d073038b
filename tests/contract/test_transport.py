"""The record-batch transport: what it relies on in Faust and aiokafka, and what it promises, on a real broker."""

import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher as KafkaFetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, TopicPartitionState
from aiokafka.record.default_records import DefaultRecordBatch
from batch_worker import NotingStage
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from faust.streams import Stream
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, Fetcher
from faust.transport.drivers import aiokafka as driver

from streams import transport
from streams.app import FETCH_BYTES, price_app
from streams.kafka import client_config
from streams.kafka_topics import create_topics
from streams.ports import free_port
from streams.record_batches import Fetched
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

BROKERS = ("kafka", "embedded")
CHILD = Path(__file__).parent / "batch_worker.py"


class TestWhatIsReliedOn:
    """Fails when a release of Faust or aiokafka changes what the transport overrides or reaches into."""

    def test_every_name_is_there(self) -> None:
        missing = [
            f"{owner.__qualname__}.{name}"
            for owner, names in transport.RELIED_ON.items()
            for name in names
            if not hasattr(owner, name)
        ]
        assert not missing

    @pytest.mark.parametrize(
        ("owner", "name", "parameters"),
        [
            (driver.Consumer, "_drain_messages", ["self", "fetcher"]),
            (driver.Consumer, "_getmany", ["self", "active_partitions", "timeout"]),
            (driver.Consumer, "_get_active_partitions", ["self"]),
            (driver.Consumer, "_new_consumer_thread", ["self"]),
            (driver.Consumer, "_commit", ["self", "offsets"]),
            (driver.Consumer, "on_partitions_revoked", ["self", "revoked"]),
            (driver.Consumer, "on_partitions_assigned", ["self", "assigned", "generation_id"]),
            (driver.Consumer, "perform_seek", ["self"]),
            (driver.Consumer, "seek_wait", ["self", "partitions"]),
            (driver.Consumer, "assignment", ["self"]),
            (driver.Consumer, "verify_event_path", ["self", "now", "tp"]),
            (driver.Consumer, "force_commit", ["self", "topics", "start_new_transaction"]),
            (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
            (driver.AIOKafkaConsumerThread, "_seek_wait", ["self", "consumer", "partitions"]),
            (driver.AIOKafkaConsumerThread, "_commit", ["self", "offsets"]),
            (
                driver.AIOKafkaConsumerThread,
                "_fetch_records",
                ["self", "consumer", "active_partitions", "timeout", "max_records"],
            ),
            (driver.AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
            (aiokafka.AIOKafkaConsumer, "commit", ["self", "offsets"]),
            (aiokafka.AIOKafkaConsumer, "highwater", ["self", "partition"]),
            (aiokafka.AIOKafkaConsumer, "last_stable_offset", ["self", "partition"]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_it_is_called_as_the_transport_calls_it(self, owner: type, name: str, parameters: list[str]) -> None:
        assert list(inspect.signature(getattr(owner, name)).parameters) == parameters
        assert name in transport.RELIED_ON[owner]

    def test_what_is_overridden_is_what_faust_calls(self) -> None:
        def calls(function: Any, text: str) -> bool:
            return text in inspect.getsource(function)

        assert calls(
            Fetcher._fetcher.fun if hasattr(Fetcher._fetcher, "fun") else Fetcher, "consumer._drain_messages(self)"
        )
        assert calls(Recovery._resume_streams, "consumer.perform_seek()")
        assert calls(Recovery._resume_streams, "consumer.resume_flow()")
        assert calls(driver.Consumer.threadsafe_partitions_revoked, "self.on_partitions_revoked")
        assert calls(driver.Consumer.threadsafe_partitions_assigned, "self.on_partitions_assigned")
        assert calls(Consumer.stop_flow, "self.flow_active = False") and calls(Consumer.stop_flow, "suspend_flow.set()")
        assert calls(driver.AIOKafkaConsumerThread.commit, "self._commit")
        assert calls(driver.AIOKafkaConsumerThread._fetch_records, "fetched_records(")
        assert calls(Stream, "message.generation_id != self.app.consumer_generation_id")
        assert calls(driver.ConsumerRebalanceListener, "app.consumer_generation_id = generation")

    def test_what_is_read_inside_aiokafka_is_there(self) -> None:
        assert KafkaFetcher.__init__.__globals__["MemoryRecords"] is Fetched
        unpacking = inspect.getsource(PartitionRecords._unpack_records)
        assert "self._consumer_record(tp, record)" in unpacking and "records.next_batch()" in unpacking
        assert "self._records = collections.OrderedDict()" in inspect.getsource(KafkaFetcher.__init__)
        assert "self._records[tp] = FetchResult(" in inspect.getsource(KafkaFetcher)
        assert "for msg in self._partition_records:" in inspect.getsource(FetchResult.getall)
        used = ("base_offset", "first_timestamp", "max_timestamp", "timestamp_type", "compression_type")
        assert all(hasattr(DefaultRecordBatch, name) for name in used)
        constructor = inspect.getsource(aiokafka.AIOKafkaConsumer.__init__)
        assert all(name in constructor for name in ("_isolation_level", "_request_timeout_ms", "_client"))
        assert "_request_timeout_ms" in inspect.getsource(AIOKafkaClient.__init__)
        coordinator = inspect.getsource(GroupCoordinator.__init__)
        assert "_coordination_task" in coordinator and "_pending_exception" in coordinator
        assert "_fetch_task" in inspect.getsource(KafkaFetcher.__init__)
        assert "_subscription" in inspect.getsource(aiokafka.AIOKafkaConsumer.__init__)
        assert list(inspect.signature(Assignment.state_value).parameters) == ["self", "tp"]
        assert isinstance(inspect.getattr_static(TopicPartitionState, "position"), property)


def test_a_worker_that_has_no_partition_and_polls_nothing_stays_in_its_group(tmp_path: Path) -> None:
    conf = price_app(Settings(state_dir=tmp_path), NotingStage(tmp_path, "spare")).conf  # type: ignore[arg-type]
    assert conf.broker_max_poll_interval > 365 * 86_400


@dataclass
class Bench:
    """A broker, and workers whose every step can be read."""

    stack: Stack
    folder: Path
    as_columns: bool
    topic: str = ""

    def create(self, topic: str, partitions: int) -> None:
        self.topic = topic
        create_topics(self.stack.settings, [NewTopic(topic, partitions, 1)])

    def start(self, name: str, *, wait: bool = True, **options: object) -> None:
        """Start a worker; with `wait`, returns when it has partitions."""
        command = json.dumps({"topic": self.topic, "as_columns": self.as_columns, **options})
        self.stack.spawn(
            name, "env", f"SPEND_WORKER_WEB_PORT={free_port()}", sys.executable, str(CHILD), str(self.folder), command
        )
        if wait:
            self.until(lambda: self.notes(name, "assigned"), f"{name} to have partitions")

    def send(self, count: int, partition: int, size: int = 0, **config: str) -> None:
        """Send records, of so many random bytes; with a `transactional.id` in one transaction."""
        producer = Producer(
            {**client_config(self.stack.settings), **{k.replace("_", "."): v for k, v in config.items()}}
        )
        if config:
            producer.init_transactions(10)
            producer.begin_transaction()
        for n in range(count):
            producer.produce(self.topic, os.urandom(size) or b"%d" % n, partition=partition)
            producer.poll(0.01 if len(producer) > 10_000 else 0)
        if config:
            producer.commit_transaction(10)
        assert producer.flush(10) == 0

    def notes(self, name: str, kind: str) -> list[dict[str, Any]]:
        """What a worker noted of a kind, in order."""
        lines = self.stack.log(name).read_text(errors="replace").splitlines()
        found = [json.loads(line[line.index("{") :]) for line in lines if '{"at"' in line and line.endswith("}")]
        return [line for line in found if kind in line]

    def done_to(self, partition: int) -> int:
        """The offset behind the last record that any worker is done with."""
        file = self.folder / f"{self.topic}-{partition}"
        return int(file.read_text()) if file.exists() else 0

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
        give_up = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up:
                logs = "\n".join(p.read_text(errors="replace")[-1500:] for p in self.stack.log("x").parent.iterdir())
                raise AssertionError(f"waited {seconds:g} s for {what}\n{logs}")
            time.sleep(0.02)

    def end(self, name: str, within: float = 10.0) -> int:
        """Wait until a worker has ended, and give its exit code."""
        process = self.stack._running.pop(name).process
        return int(process.wait(within))

    def stop(self, name: str, within: float = 10.0) -> int:
        """SIGTERM, and the exit code."""
        self.stack._running[name].process.terminate()
        return self.end(name, within)


@pytest.fixture(params=[False, True], ids=["records", "columns"])
def bench(tmp_path: Path, broker: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    settings = on_free_ports(Settings(state_dir=tmp_path / "state", broker=broker, session_timeout_seconds=2))
    folder = tmp_path / "positions"
    folder.mkdir()
    with Stack(settings, parts=("broker",)) as stack:
        yield Bench(stack, folder, request.param)


@pytest.mark.stack
class TestOnABroker:
    """Real workers; each notes its batches (`batch_worker.py`)."""

    def test_batches_are_full_or_have_waited_in_order_one_at_a_time_and_the_worker_stops_at_once(
        self, bench: Bench
    ) -> None:
        bench.create("order", 2)
        bench.send(2500, 0)
        bench.send(1200, 1)
        bench.start("w", block_events=1000, block_seconds=0.5, work_seconds=0.1)
        bench.until(lambda: (bench.done_to(0), bench.done_to(1)) == (2500, 1200), "all records")
        sent = time.monotonic()
        bench.send(3, 0)
        bench.until(lambda: bench.done_to(0) == 2503, "the last records")

        began, ended = bench.notes("w", "began"), bench.notes("w", "ended")
        assert [b["count"] for b in began if b["began"] == 0] == [1000, 1000, 500, 3]
        assert [b["count"] for b in began if b["began"] == 1] == [1000, 200]
        for p in (0, 1):
            mine = [b for b in began if b["began"] == p]
            assert [b["first"] for b in mine] == [0, *(b["last"] + 1 for b in mine[:-1])]
            for batch, end in zip(mine[1:], [e for e in ended if e["ended"] == p], strict=False):
                assert end["at"] <= batch["at"]  # one in flight
        assert began[-1]["at"] - sent >= 0.5  # it lingered for others to come

        bench.send(10, 1)
        stopping = time.monotonic()
        assert bench.stop("w") == 0
        assert time.monotonic() - stopping < 5
        assert "Traceback" not in bench.stack.log("w").read_text()

    def test_what_is_gathered_is_bounded_while_the_agent_is_slow(self, bench: Bench) -> None:
        bench.create("slow", 1)
        bench.send(40_000, 0, size=1_000)
        bench.start("w", block_events=100, work_seconds=0.2)
        bench.until(lambda: bench.done_to(0) >= 1000, "a few batches")
        # full at block_events; what makes it full may be all that a fetch brings, which ends with a batch of Kafka's
        assert max(n["gathered"] for n in bench.notes("w", "gathered")) < 100 + 2 * FETCH_BYTES // 1_000

    def test_workers_join_and_leave_and_no_record_is_passed_over(self, bench: Bench) -> None:
        bench.create("rebalance", 4)
        bench.start("w1", takeover_seconds=0.5, block_seconds=0.1)
        bench.start("w2", takeover_seconds=2.0, block_seconds=0.1)  # nothing was ever committed
        for p in range(4):
            bench.send(300, p)
        bench.start("w3", takeover_seconds=2.0, block_seconds=0.1, wait=False)
        for round_ in range(6):
            for p in range(4):
                bench.send(100, p)
            time.sleep(0.4)
            if round_ == 2:
                bench.start("w4", takeover_seconds=0.2, block_seconds=0.1, wait=False)
        bench.until(lambda: all(bench.notes(n, "assigned") for n in ("w3", "w4")), "all workers to have taken over")
        assert bench.stop("w2", within=15) == 0
        for p in range(4):
            bench.send(100, p)
        bench.until(lambda: all(bench.done_to(p) == 1000 for p in range(4)), "all records")
        bench.stack.check()  # no worker ended
        for name in ("w1", "w2", "w3", "w4"):
            assert not bench.notes(name, "fatal")
            at: dict[str, int] = {}
            for line in (n for n in bench.notes(name, "at") if "assigned" in n or "began" in n):
                if "assigned" in line:
                    at = dict(line["assigned"])
                else:
                    partition = str(line["began"])
                    assert line["first"] == at[partition], f"{name} passed over records of partition {partition}"
                    at[partition] = line["last"] + 1

    def test_no_record_that_comes_in_the_moment_of_a_rebalance_is_passed_over(self, bench: Bench) -> None:
        bench.create("moment", 1)
        bench.start("w1", block_seconds=0.05)
        sent, ended = 0, threading.Event()

        def send() -> None:
            nonlocal sent
            producer = Producer(client_config(bench.stack.settings))
            while not ended.wait(0.02):
                producer.produce("moment", b"%d" % sent, partition=0)
                producer.poll(0)
                sent += 1
            assert producer.flush(10) == 0

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for number in range(2, 7):
                bench.start(f"w{number}", block_seconds=0.05)
                bench.stop(f"w{number}")
        finally:
            ended.set()
            sender.join()
        bench.until(lambda: bench.done_to(0) == sent, "all records")
        began = [note for number in range(1, 7) for note in bench.notes(f"w{number}", "began")]
        taken = {offset for note in began for offset in range(note["first"], note["last"] + 1)}
        assert taken == set(range(sent))
        assert all(note["count"] == note["last"] - note["first"] + 1 for note in began)

    def test_a_worker_for_which_no_partition_is_left_is_told_so(self, bench: Bench) -> None:
        bench.create("spare", 1)
        bench.start("w1")
        bench.start("w2", wait=False)
        bench.until(
            lambda: any(note["assigned"] == {} for name in ("w1", "w2") for note in bench.notes(name, "assigned")),
            "a worker to hear that it has nothing",
        )
        bench.send(10, 0)
        bench.until(lambda: bench.done_to(0) == 10, "the other worker to go on")
        bench.stack.check()

    def test_a_partition_without_progress_ends_the_worker_and_says_so(self, bench: Bench) -> None:
        bench.create("stall", 1)
        bench.send(50, 0)
        bench.start("w", hang_at=20, stall_seconds=1.5)
        assert bench.end("w", within=15) == 3
        [note] = bench.notes("w", "fatal")
        assert "stall partition 0: 50 records behind and no progress for 1.5 s (SPEND_STALL_SECONDS)" in note["fatal"]

    def test_a_paused_partition_waits_and_is_no_stall_and_neither_is_the_end_of_a_transaction(
        self, bench: Bench
    ) -> None:
        bench.create("pause", 2)
        bench.start("w", stall_seconds=1.5)
        (bench.folder / "pause").write_text("1")
        bench.until(lambda: bench.notes("w", "paused"), "the pause")
        time.sleep(0.5)  # a fetch that was under way still counts
        bench.send(100, 0, transactional_id="payments")
        bench.send(100, 1)
        bench.until(lambda: bench.done_to(0) == 100, "the other partition")
        time.sleep(3.5)
        bench.stack.check()
        assert bench.done_to(1) == 0
        (bench.folder / "pause").write_text("")
        bench.until(lambda: bench.done_to(1) == 100, "the paused partition")
