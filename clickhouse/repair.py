"""Brings ClickHouse to exactly what the blocks of spend.priced say, whatever it holds; no sink may run meanwhile.

What is wrong is seen from the rows alone, never from notes of an earlier run, and each step is atomic: a repair that
was killed is finished by running it again. Raw rows first: rows that no block has are deleted, copies are taken out,
missing rows are attached, which fires no view. Then every month of every rollup whose sums are not those of its raw
rows is made anew. At last progress, so that the sink goes on behind it and copies the other topics once more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from clickhouse import migrate
from clickhouse.client import connect
from clickhouse.copy_topics import copy_anew
from clickhouse.insert_settings import insert_settings
from clickhouse.progress import Progress, read_progress, write_progress
from clickhouse.rebuild import Months, like
from clickhouse.replicas import catch_up
from streams import blocks, topics
from streams.blocks import Block, Header
from streams.errors import Halt, SpendError
from streams.kafka import read_range, reader, topic_ids, watermarks
from streams.kafka_groups import group_members, member_of
from streams.kafka_rights import SINK_GROUP
from streams.settings import Settings

_STAGED = "repair_rows"
_STRETCH_ROWS = 250_000  # compared at once
_DELETED_AT_ONCE = 10_000

# What is being done, how much of it is done, of how much.
Tell = Callable[[str, int, int], None]


@dataclass
class Repair:
    """What was wrong and was mended; in a dry run, what would be.

    Attributes:
        blocks: blocks compared. rows: rows that they say.
        missing: rows that ClickHouse lacked.
        doubled: raw rows beyond the first of their coordinates, of all logs.
        unexpected: raw rows that the blocks do not have.
        expired: rows that were inserted and have been dropped since, being older than SPEND_RAW_RETENTION_DAYS.
        rebuilt: (rollup, month) whose sums were wrong.
        left: what cannot be mended, a sentence each.
    """

    blocks: int = 0
    rows: int = 0
    missing: int = 0
    doubled: int = 0
    unexpected: int = 0
    expired: int = 0
    rebuilt: list[tuple[str, int]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether anything had to be mended."""
        return bool(self.missing or self.doubled or self.unexpected or self.rebuilt)


def repair(settings: Settings, now: datetime, tell: Tell, accept_gap: bool = False, dry_run: bool = False) -> Repair:
    """Compare, mend, and write progress up to the blocks that were there at the start.

    Args:
        settings: the settings.
        now: rows older than SPEND_RAW_RETENTION_DAYS before this may have been dropped for their age.
        tell: is told how far it is.
        accept_gap: go on without what expired before it was inserted.
        dry_run: change nothing.

    Raises:
        Halt: a sink runs; or something expired, and `accept_gap` was not given. Nothing was changed.
        Unreachable: Kafka or ClickHouse does not answer.
    """
    if not dry_run:  # asking disturbs the sinks for a moment
        require_no_sink(settings)
    client = connect(settings)
    if not migrate.applied(client, settings):
        raise SpendError(f"database {settings.clickhouse_database} has no tables: `spendstream migrate up` makes them")
    client.database = settings.clickhouse_database
    cut = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    cut -= timedelta(days=settings.raw_retention_days - 1)
    found, months = Repair(), Months(client, cut)
    rollups = months.rollups()
    if settings.clickhouse_cluster:  # rows that are on their way to this replica are not missing
        catch_up(client, "usage", "progress", *(rollup.table for rollup in rollups))
        client.set_client_setting("alter_sync", "2")  # done means: on every replica
    if not dry_run:
        months.clear()
        client.command(f"DROP TABLE IF EXISTS {_STAGED} SYNC")
        client.command(like("usage", _STAGED))
    comparison = _Comparison(settings, client, cut, found, accept_gap=accept_gap, dry_run=dry_run)
    progress = comparison.run(tell)
    doubled = months.doubled()
    found.doubled = sum(doubled.values())
    if not dry_run:
        _mend_rows(client, settings, months, comparison.unexpected, doubled)
    work = [(rollup, month) for rollup in rollups for month in months.with_rows()]
    for done, (rollup, month) in enumerate(work):
        tell("months of rollups", done, len(work))
        if months.differing(rollup, month):
            found.rebuilt.append((rollup.table, month))
            if not dry_run and (rows := months.rebuild(rollup, month)):
                found.left.append(
                    f"{rollup.table}, month {month}: {rows} rows of times without any raw row were left as they are"
                )
    tell("months of rollups", len(work), len(work))
    if not dry_run:
        require_no_sink(settings)
        for _ in range(2):  # the second time each row counts the blocks of all
            for each in progress:
                write_progress(client, each, now)
        copy_anew(settings)
    return found


def require_no_sink(settings: Settings) -> None:
    """Make sure that no sink is in the consumer group of the sinks.

    Raises:
        Halt: there is one.
        Unreachable: Kafka does not answer.
    """
    if group_members(settings, SINK_GROUP)[SINK_GROUP] and not _gets_everything(settings):
        raise Halt(
            "a sink runs (the consumer group spendstream-sink has a member): stop every `spendstream sink`, then repair"
        )


def _gets_everything(settings: Settings) -> bool:
    """Join the group for a moment: whether all partitions come to this process."""
    # member ids begin with the client's; the last in order gets all only when it is alone
    with member_of(settings, SINK_GROUP, [topics.PRICED], **{"client.id": "~repair"}) as (consumer, got):
        partitions = consumer.list_topics(topics.PRICED, timeout=10).topics[topics.PRICED].partitions
        return sorted(tp.partition for tp in got) == sorted(partitions)


class _Comparison:
    """Reads the blocks of all partitions beside the raw rows, and stages what is missing."""

    def __init__(
        self, settings: Settings, client: Client, cut: datetime, found: Repair, *, accept_gap: bool, dry_run: bool
    ) -> None:
        self.unexpected: list[tuple[str, int, list[int]]] = []  # log id, partition, source offsets
        self._settings = settings
        self._client = client
        self._cut_us = int(cut.timestamp()) * 1_000_000
        self._found = found
        self._accept_gap = accept_gap
        self._dry_run = dry_run

    def run(self, tell: Tell) -> list[Progress]:
        """The progress of each partition once its rows are mended."""
        ids = topic_ids(self._settings, topics.USAGE, topics.PRICED)
        consumer = reader(self._settings)
        try:
            partitions = sorted(consumer.list_topics(topics.PRICED, timeout=10).topics[topics.PRICED].partitions)
            marks = {number: watermarks(consumer, topics.PRICED, number) for number in partitions}
            of = sum(end - start for start, end in marks.values())
            result = []
            for number, (start, end) in marks.items():
                progress, _ = read_progress(self._client, ids[topics.PRICED], ids[topics.USAGE], number)
                self._check_log(progress, start, end)
                inserted = progress.block_offset
                before: int | None = None
                stretch: list[tuple[int, Block]] = []
                for message in read_range(consumer, topics.PRICED, number, start, end):
                    offset = message.offset()
                    assert offset is not None
                    block = Block(Header.from_kafka(message.headers()), message.value() or b"")  # type: ignore[arg-type]
                    if (block.header.log_id, block.header.block_log_id) != (progress.log_id, progress.block_log_id):
                        raise Halt(f"spend.priced partition {number}: block {offset} is of another log")
                    trimmed, before = blocks.trim(block, before)
                    if offset > inserted:
                        progress = progress.after(offset, trimmed, before)
                    if trimmed is not None:
                        stretch.append((offset, trimmed))
                    self._found.blocks += 1
                    tell("blocks", self._found.blocks, of)
                    if sum(each.header.rows for _, each in stretch) >= _STRETCH_ROWS:
                        self._compare(stretch, inserted)
                        stretch = []
                if stretch:
                    self._compare(stretch, inserted)
                self._refuse_rows_beyond(progress)
                result.append(progress)
            return result
        finally:
            consumer.close()

    def _refuse_rows_beyond(self, progress: Progress) -> None:
        """Rows that no block speaks of yet would be inserted a second time when their blocks come."""
        mark = -1 if progress.mark is None else progress.mark
        beyond = self._client.query(
            "SELECT count() FROM usage "
            "WHERE log_id = {log:String} AND source_partition = {partition:Int32} AND source_offset > {mark:Int64}",
            parameters={"log": progress.log_id, "partition": progress.partition, "mark": mark},
        ).result_rows[0][0]
        if beyond:
            raise Halt(
                f"spend.priced partition {progress.partition}: ClickHouse holds {beyond} rows beyond the last block, "
                f"which ends at source offset {mark}: let `spendstream worker` catch up, then repair again"
            )

    def _check_log(self, progress: Progress, start: int, end: int) -> None:
        where = f"spend.priced partition {progress.partition}"
        next_block = progress.block_offset + 1
        if next_block > end:
            raise Halt(
                f"{where} ends at block {end}, but ClickHouse holds block {progress.block_offset}: the log lost its end"
            )
        if next_block < start:
            gap = f"{where}: blocks {next_block} to {start - 1} expired before progress covered them"
            if not self._accept_gap:
                raise Halt(f"{gap}. To go on with what is left: `spendstream repair --accept-gap`")
            self._found.left.append(gap)

    def _compare(self, stretch: list[tuple[int, Block]], inserted: int) -> None:
        """Compare consecutive blocks with the raw rows of their source offsets; blocks up to `inserted` were there."""
        header = stretch[0][1].header
        found = self._client.query_arrow(
            """
            SELECT DISTINCT source_offset FROM usage
            WHERE log_id = {log:String} AND source_partition = {partition:Int32}
              AND source_offset BETWEEN {first:Int64} AND {last:Int64}
            """,
            parameters={
                "log": header.log_id,
                "partition": header.source_partition,
                "first": header.first,
                "last": stretch[-1][1].header.last,
            },
        )
        held = np.asarray(found.column("source_offset"))
        said = []
        for offset, block in stretch:
            columns = blocks.read(block.value, ["source_offset", "time"])
            offsets = np.asarray(columns.column("source_offset"))
            said.append(offsets)
            absent = ~np.isin(offsets, held)
            if absent.any():
                times = np.asarray(columns.column("time").cast(pa.int64()))
                self._missing(offset, block, absent, times < self._cut_us, inserted)
        self._found.rows += sum(len(offsets) for offsets in said)
        others = np.setdiff1d(held, np.concatenate(said))
        if len(others):
            self._found.unexpected += len(others)
            self.unexpected.append((header.log_id, header.source_partition, others.tolist()))

    def _missing(self, offset: int, block: Block, absent: np.ndarray, old: np.ndarray, inserted: int) -> None:
        if expired := int((absent & old).sum()):
            if offset <= inserted:
                self._found.expired += expired
            else:
                self._never_inserted(offset, block, expired)
        wanted = absent & ~old
        self._found.missing += int(wanted.sum())
        if self._dry_run or not wanted.any():
            return
        header = block.header
        self._client.raw_insert(
            _STAGED,
            insert_block=block.value if wanted.all() else blocks.write(block.batch.filter(pa.array(wanted))),
            fmt="ArrowStream",
            settings=insert_settings(f"repair:{header.block_log_id}:{header.source_partition}:{offset}"),
        )

    def _never_inserted(self, offset: int, block: Block, rows: int) -> None:
        where = f"spend.priced partition {block.header.source_partition} block {offset}"
        what = f"{where}: {rows} rows are older than SPEND_RAW_RETENTION_DAYS, and may never have been counted"
        if not self._accept_gap:
            raise Halt(f"{what}. To go on without them: `spendstream repair --accept-gap`")
        self._found.left.append(what)


def _mend_rows(
    client: Client,
    settings: Settings,
    months: Months,
    unexpected: list[tuple[str, int, list[int]]],
    doubled: dict[int, int],
) -> None:
    for log_id, partition, offsets in unexpected:
        for part in _parts(offsets):
            client.command(
                "ALTER TABLE usage DELETE WHERE log_id = {log:String} AND source_partition = {partition:Int32} "
                "AND source_offset IN {offsets:Array(Int64)}",
                parameters={"log": log_id, "partition": partition, "offsets": part},
                settings={"mutations_sync": 2},
            )
    for month in doubled:
        months.keep_one_of_each(month)
    require_no_sink(settings)
    staged = client.query(f"SELECT DISTINCT toYYYYMM(time) FROM {_STAGED} ORDER BY 1").result_rows
    for (month,) in staged:
        client.command(f"ALTER TABLE usage ATTACH PARTITION {month} FROM {_STAGED}")
    client.command(f"DROP TABLE {_STAGED} SYNC")


def _parts(offsets: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(offsets), _DELETED_AT_ONCE):
        yield offsets[at : at + _DELETED_AT_ONCE]
