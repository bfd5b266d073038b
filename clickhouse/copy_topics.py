"""Copies of the other topics in ClickHouse: windows, alerts, budgets and their states, deliveries, planned activity.

A thread beside the sink's own, with a consumer, a client and positions of its own, so that neither waits for the
other. Every row bears a version and the newest one counts (ReplacingMergeTree), so a record may be copied any number of
times: positions are committed in Kafka after the insert, and whoever goes on repeats what lies between. A position that
is gone is no hole: what is left holds the newest state, and a window or budget that changes comes again as a whole. An
empty table is filled from the topic's start: the positions are those of another database.

Blocks of windows are inserted as they are. What came within a second goes into one insert a table.
"""

import logging
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickhouse.arrow_streams import joined
from clickhouse.client import connect
from clickhouse.copied_rows import COPIES, row
from clickhouse.insert_settings import COPY_SETTINGS
from clickhouse.retry import fatal, first_line, insist
from schemas.windows import windows_arrow
from streams import metrics, topics
from streams.errors import Halt, Unreachable
from streams.kafka import admin, passes, reader, topic_ids, until_answered, watermarks
from streams.kafka_groups import member_of
from streams.kafka_rights import COPY_GROUP
from streams.settings import Settings

log = logging.getLogger("spendstream.sink")

TOPICS = (topics.WINDOWS, *COPIES)
TABLES = {topics.WINDOWS: "windows", **{topic: copy.table for topic, copy in COPIES.items()}}

_EVERY_SECONDS = 1.0
_BATCH_BYTES = 16 << 20  # more than this is not read ahead of an insert
_BATCH_RECORDS = 1_000
_QUEUE_KBYTES = 32 << 10
_JOIN_SECONDS = 10.0


def copy_anew(settings: Settings) -> None:
    """Let the next sink copy all records that are left: the tables may be those of a backup. No sink may run.

    Raises:
        Unreachable: the broker does not answer, or refuses.
    """
    try:
        found = admin(settings).list_topics(timeout=10).topics
        starts = [TopicPartition(t, number, 0) for t in TOPICS if t in found for number in found[t].partitions]
        if starts:  # where a sink that was killed counts as a member still, only members may commit
            with member_of(settings, COPY_GROUP, [t for t in TOPICS if t in found]) as (consumer, _):
                consumer.commit(offsets=starts, asynchronous=False)
    except KafkaException as exc:
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc


class Copier:
    """Copies until `stop`, in a thread of its own; a sink that shares the topics with others gets a part of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._waiting: list[Message] = []
        self._bytes = 0
        self._empty: set[str] = set()  # topics whose tables have no row
        self._thread = threading.Thread(target=self._run, name="copy-topics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the thread's end. One that hangs in ClickHouse is left: its rows are copied again."""
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            topic_ids(self._settings, *TOPICS)  # they are there
            client = insist("the tables of copies are not looked up", self._connect, self._stopping)
            if client is not None:
                self._copy(client)
        except Exception as exc:
            self._end(exc)

    def _connect(self, _: int) -> Client:
        client = connect(self._settings)
        client.database = self._settings.clickhouse_database
        found = client.query(
            "SELECT name, total_rows FROM system.tables WHERE database = {database:String}",
            parameters={"database": self._settings.clickhouse_database},
        ).result_rows
        rows = {name: count for name, count in found}
        missing = sorted(set(TABLES.values()) - rows.keys())
        if missing:
            raise Halt(
                f"database {self._settings.clickhouse_database} has no table {', '.join(missing)}: "
                "make them with `spendstream migrate up`"
            )
        self._empty = {topic for topic, table in TABLES.items() if rows[table] == 0}
        return client

    def _copy(self, client: Client) -> None:
        consumer = reader(
            self._settings,
            COPY_GROUP,
            **{
                "session.timeout.ms": int(self._settings.session_timeout_seconds * 1000),
                "heartbeat.interval.ms": int(self._settings.session_timeout_seconds * 1000 / 6),
                "partition.assignment.strategy": "range",
                "queued.max.messages.kbytes": _QUEUE_KBYTES,
                "fetch.queue.backoff.ms": 50,
                "enable.partition.eof": False,
            },
        )
        consumer.subscribe(list(TOPICS), on_assign=self._assigned, on_revoke=self._forget, on_lost=self._forget)
        copied = observed = time.monotonic()
        try:
            while not self._stopping.is_set():
                for message in consumer.consume(_BATCH_RECORDS, 0.2):
                    self._take(consumer, message)
                now = time.monotonic()
                if self._waiting and (now - copied >= _EVERY_SECONDS or self._bytes >= _BATCH_BYTES):
                    self._insert(client, consumer)
                    copied = now
                if now - observed >= _EVERY_SECONDS:
                    _observe_lag(consumer)
                    observed = now
            if self._waiting:
                self._insert(client, consumer)
        finally:
            consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        try:
            all_committed = until_answered(lambda: consumer.committed(partitions, timeout=10))
            for tp, committed in zip(partitions, all_committed, strict=True):
                first, end = self._bounds(consumer, tp, committed.offset)
                is_there = first <= committed.offset <= end and tp.topic not in self._empty
                tp.offset = committed.offset if is_there else first
                if committed.offset >= 0 and tp.offset != committed.offset:  # it is negative where none was
                    _tell_gone(tp, committed.offset, first)
            consumer.assign(partitions)
        except Exception as exc:
            self._end(exc)

    def _bounds(self, consumer: Consumer, tp: TopicPartition, position: int) -> tuple[int, int]:
        """A partition's first offset and its end, the true one only where `position` lies behind what is listed."""
        first, listed = until_answered(lambda: consumer.get_watermark_offsets(tp, timeout=10))
        if position <= listed:
            return first, listed
        looker = reader(self._settings)
        try:
            return watermarks(looker, tp.topic, tp.partition)
        finally:
            looker.close()

    def _end(self, exc: Exception) -> NoReturn:
        if isinstance(exc, KafkaException):
            fatal(Unreachable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {exc.args[0].str()}"))
        fatal(exc)

    def _forget(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What waits was not committed: whoever gets the partitions reads it again."""
        self._waiting, self._bytes = [], 0

    def _take(self, consumer: Consumer, message: Message) -> None:
        error = message.error()
        if error is None:
            self._waiting.append(message)
            self._bytes += len(message.value() or b"")
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            # beyond the end: the topic was made anew, or lost its end
            tp = TopicPartition(message.topic() or "", message.partition() or 0)
            tp.offset = until_answered(lambda: consumer.get_watermark_offsets(tp, timeout=10))[0]
            _tell_gone(tp, message.offset(), tp.offset)
            consumer.seek(tp)
        elif passes(error) or error.code() == KafkaError._MAX_POLL_EXCEEDED:
            log.warning("Kafka: %s", error.str())
        else:
            raise Halt(f"{message.topic()}: {error.str()}")

    def _insert(self, client: Client, consumer: Consumer) -> None:
        """Insert what waits, then commit its positions; nothing of it when asked to stop while ClickHouse is away."""
        messages, self._waiting, self._bytes = self._waiting, [], 0
        for table, fmt, data in _inserts(messages):

            def insert(attempt: int, table: str = table, fmt: str = fmt, data: bytes = data) -> bool:
                if attempt:
                    metrics.INSERT_RETRIES.inc()
                client.raw_insert(table, insert_block=data, fmt=fmt, settings=COPY_SETTINGS)
                return True

            if insist(f"table {table}: ClickHouse did not take its copies", insert, self._stopping) is None:
                return
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            topic, partition, offset = _place(message)
            ends[topic, partition] = offset + 1
            self._empty.discard(topic)
            metrics.COPIED.labels(topic).inc()
        try:
            consumer.commit(offsets=[TopicPartition(*place, end) for place, end in ends.items()], asynchronous=False)
        except KafkaException as exc:
            log.warning("positions of copies are not committed, they are copied again: %s", exc.args[0].str())


def _inserts(messages: list[Message]) -> Iterator[tuple[str, str, bytes]]:
    """(table, format, data) of each insert that these records need."""
    blocks = [(_where(m), value) for m in messages if m.topic() == topics.WINDOWS and (value := m.value())]
    for data in joined(blocks, windows_arrow().names):
        yield "windows", "ArrowStream", data
    rows: dict[str, list[bytes]] = {}
    for message in messages:
        topic, _, offset = _place(message)
        if topic == topics.WINDOWS:
            continue
        try:
            found = row(topic, _bytes(message.key()), message.value(), message.timestamp()[1], offset)
            if found is not None:
                rows.setdefault(found[0], []).append(found[1])
        except ValueError as exc:
            metrics.COPY_UNREADABLE.labels(topic).inc()
            log.error("%s is left out: %s", _where(message), first_line(exc))
    for table, lines in rows.items():
        yield table, "JSONEachRow", b"\n".join(lines)


def _tell_gone(tp: TopicPartition, was: int | None, first: int) -> None:
    where = f"{tp.topic} partition {tp.partition}"
    log.warning("%s: offset %s is gone, or of another database; the copy goes on at %d", where, was, first)


def _observe_lag(consumer: Consumer) -> None:
    lag: dict[str, int] = {}
    for tp in consumer.position(consumer.assignment()):
        _, end = consumer.get_watermark_offsets(tp, cached=True)
        if end >= 0 and tp.offset >= 0:
            lag[tp.topic] = lag.get(tp.topic, 0) + end - tp.offset
    for topic, records in lag.items():
        metrics.COPY_LAG.labels(topic).set(records)


def _place(message: Message) -> tuple[str, int, int]:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return topic, partition, offset


def _where(message: Message) -> str:
    return f"{message.topic()} partition {message.partition()} offset {message.offset()}"


def _bytes(text: str | bytes | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text
