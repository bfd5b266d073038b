"""How an audit goes: read the log of spend.usage partition by partition, judge, and compare stretch by stretch."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer

from clickhouse.client import connect
from schemas.codec import WriterSchemas
from streams import topics
from streams.audit.compare import compare
from streams.audit.report import Partition, Report
from streams.audit.rollups import ROLLUPS, compare_rollup
from streams.audit.tables import Tables
from streams.audit.windows import compare_windows
from streams.blocks import Header
from streams.kafka import read_range, reader, topic_ids, watermarks
from streams.kafka_rights import AUDIT_GROUP
from streams.oracle.decode import Decoder
from streams.oracle.judge import Expected, Oracle
from streams.oracle.price import OraclePrices
from streams.settings import Settings
from streams.spend.rates import RateTable

STRETCH = 250_000  # records judged and compared together
_TELL_EVERY = 2_000  # records

Tell = Callable[[str, int, int], None]  # what is done, how many of it, of how many


def audit(settings: Settings, table: RateTable, writers: WriterSchemas, wait_seconds: float, tell: Tell) -> Report:
    """Audit what the log holds as the audit begins.

    Args:
        settings: the settings.
        table: the rates in force.
        writers: the schemas of the wire.
        wait_seconds: how long to wait for the sink to insert what the log held, and then for windows behind it.
        tell: is told of the progress.

    Raises:
        Halt: a topic is missing, or records expire while they are read.
        Unreachable: Kafka or ClickHouse does not answer.
    """
    tables = Tables(connect(settings), settings.clickhouse_database)
    log_id = topic_ids(settings, topics.USAGE)[topics.USAGE]
    since = tables.kept_since(settings.raw_retention_days)
    decoder, prices = Decoder(writers), OraclePrices(table)
    consumer = reader(settings, AUDIT_GROUP)
    partitions = []
    try:
        for number in sorted(consumer.list_topics(topics.USAGE, timeout=10).topics[topics.USAGE].partitions):
            start, end = watermarks(consumer, topics.USAGE, number)
            partitions.append(Partition(number, start, end))
        total, done = sum(p.end - p.start for p in partitions), 0
        deadline = time.monotonic() + wait_seconds
        for partition in partitions:
            unknown = _unknown_schemas(consumer, log_id, partition.number)
            one = _PartitionAudit(
                partition=partition,
                log_id=log_id,
                oracle=Oracle(decoder, prices, settings.dedup_horizon, unknown),
                horizon=settings.dedup_horizon,
                version=table.version,
                kept_since_us=int(np.datetime64(since, "us").astype(np.int64)),
                deadline=deadline,
                tables=tables,
            )
            for read in one.judge(consumer):
                tell("records", done + read, total)
            one.compare_decisions(consumer)
            done += partition.end - partition.start
        tell("records", total, total)
        worker_ran = _has_held_records(consumer, topics.TOTALS, topics.WINDOWS)
    finally:
        consumer.close()
    rollups = []
    for number, name in enumerate(ROLLUPS):
        tell("rollups", number, len(ROLLUPS))
        rollups.append(compare_rollup(tables, name, since))
    tell("rollups", len(ROLLUPS), len(ROLLUPS))
    windows = compare_windows(
        tables,
        log_id,
        settings,
        worker_ran=worker_ran,
        wait_seconds=wait_seconds,
        tell=lambda done, of: tell("windows", done, of),
    )
    return Report(
        log_id=log_id,
        price_version=table.version,
        partitions=partitions,
        gone=tables.other_logs(log_id),
        rollups=rollups,
        kept_since=since.isoformat(),
        windows=windows,
    )


@dataclass
class _PartitionAudit:
    """One partition of the log, its raw rows and its blocks."""

    partition: Partition
    log_id: str
    oracle: Oracle
    horizon: int
    version: str
    kept_since_us: int
    deadline: float  # of time.monotonic: no longer is the sink waited for
    tables: Tables
    duplicates: list[np.ndarray] = field(default_factory=list)
    dead: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def judge(self, consumer: Consumer) -> Iterator[int]:
        """Judge every record and compare stretch by stretch; yields now and then how many offsets are behind it."""
        number, start, end = self.partition.number, self.partition.start, self.partition.end
        if start < self.horizon:
            for source, event_id, at in self._followed(consumer, number):
                self.oracle.accepted.remember(source, event_id, at)
        if start > 0:
            # Repeats of what has expired are recognised too, so those identities are taken from the raw rows.
            for source, event_id, at in self.tables.identities(self.log_id, number, start - self.horizon, start):
                self.oracle.accepted.remember(source, event_id, at)
            self.partition.before = self.tables.before(self.log_id, number, start)
        first = start
        for message in read_range(consumer, topics.USAGE, number, start, end):
            kind, milliseconds = message.timestamp()
            offset = message.offset()
            assert offset is not None
            time_us = -1 if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds * 1000
            self.oracle.judge(offset, time_us, message.value())
            if self.oracle.records % _TELL_EVERY == 0:
                yield offset - start
            if self.oracle.records == STRETCH:
                self._compare(self.oracle.cut(), first, offset + 1)
                first = offset + 1
        self._compare(self.oracle.cut(), first, end)

    def _followed(self, consumer: Consumer, number: int, origin: int = 0) -> Iterator[tuple[str, str, int]]:
        """(source, id, offset) of the raw rows of the partition that this one was split from, at offsets below it."""
        firsts = takewhile(lambda header: header.follows is not None, _headers(consumer, self.log_id, number))
        for before, last in [header.follows for header in firsts if header.follows is not None][-1:]:
            yield from self._followed(consumer, before, origin - last - 1)
            for source, event_id, at in self.tables.identities(self.log_id, before, last - self.horizon, last + 1):
                yield source, event_id, at + origin - last - 1

    def _compare(self, expected: Expected, first: int, stop: int) -> None:
        """Compare source offsets `first` up to, not including, `stop` with the raw rows."""
        partition = self.partition
        partition.records += expected.records
        partition.duplicates += len(expected.duplicates)
        self.duplicates.append(expected.duplicates)
        for reason, offsets in expected.dead_letters.items():
            partition.dead_letters[reason] += len(offsets)
            self.dead.setdefault(reason, []).append(offsets)
        if expected.records:
            mark = self._wait_for_sink(expected.last)
            if mark < expected.last:
                partition.pending += expected.beyond(mark)
                expected, stop = expected.up_to(mark), mark + 1
        if stop > first:
            actual = self.tables.raw(self.log_id, partition.number, first, stop, self.version)
            partition.tally.add(compare(expected, actual, partition.number, self.kept_since_us))

    def _wait_for_sink(self, offset: int) -> int:
        """The sink's mark once it has reached `offset`, or as far as it came until the deadline."""
        while True:
            mark = self.tables.mark(self.log_id, self.partition.number)
            if mark >= offset or time.monotonic() > self.deadline:
                return mark
            time.sleep(0.25)

    def compare_decisions(self, consumer: Consumer) -> None:
        """Compare each duplicate and dead letter with what the headers of the blocks on spend.priced say."""
        said: dict[str, list[np.ndarray]] = {}
        since: int | None = None
        mark: int | None = None
        for header in _headers(consumer, self.log_id, self.partition.number):
            since = header.first if since is None else since
            for reason, offsets in {"": header.duplicates, **header.dead_letters}.items():
                said.setdefault(reason, []).append(offsets)
            mark = header.last if mark is None else max(mark, header.last)
        if since is None or mark is None:
            return
        low, high = max(since, self.partition.start), min(mark + 1, self.partition.end)
        ours = {"": self.duplicates, **self.dead}
        for reason in ours.keys() | said.keys():
            one, other = (np.concatenate([np.empty(0, np.int64), *some.get(reason, [])]) for some in (ours, said))
            differing = np.setxor1d(one, other)
            self.partition.undecided += int(((differing >= low) & (differing < high)).sum())


def _has_held_records(consumer: Consumer, *names: str) -> bool:
    """Whether a record was ever written to one of these topics, as far as they exist."""
    found = consumer.list_topics(timeout=10).topics
    return any(
        watermarks(consumer, name, partition)[1] > 0
        for name in names
        if name in found
        for partition in found[name].partitions
    )


def _headers(consumer: Consumer, log_id: str, partition: int) -> Iterator[Header]:
    """What the blocks of a partition say first about each offset of a log, in their order."""
    mark = -1
    begin, end = watermarks(consumer, topics.PRICED, partition)
    for message in read_range(consumer, topics.PRICED, partition, begin, end):
        header = Header.from_kafka(message.headers())  # type: ignore[arg-type]
        if header.log_id == log_id:
            yield header.beyond(mark)
            mark = max(mark, header.last)


def _unknown_schemas(consumer: Consumer, log_id: str, partition: int) -> set[int]:
    """Offsets whose schema was in no registry as they were decided."""
    return {
        int(offset)
        for header in _headers(consumer, log_id, partition)
        for offset in header.dead_letters.get("unknown_schema", ())
    }
