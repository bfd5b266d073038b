"""The sink: priced blocks into ClickHouse, one block, one insert, one token.

The token `<priced log id>:<partition>:<block offset>` and the trimmed block's bytes are the same whoever inserts it
and however often, so a sink that was killed, replaced or paused can only repeat an insert. On assignment a partition
goes on behind its progress row; what lies between that row and the last insert is inserted again.

A partition's blocks are inserted in order by a thread of its own; the main thread reads Kafka and pauses a partition
whose thread is behind. ClickHouse down, slow or refusing means waiting, with back-off; nothing is dropped.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, Message, TopicPartition

from clickhouse.arrow_streams import columns_of
from clickhouse.client import connect
from clickhouse.insert_settings import TOKEN_WINDOW, insert_settings
from clickhouse.progress import Progress, read_progress, was_inserted_otherwise, write_progress
from clickhouse.replicas import lacking
from clickhouse.retry import fatal, first_line, insist
from streams import blocks, metrics, topics
from streams.blocks import Block, Header
from streams.clock import uptime
from streams.errors import Halt, Unreachable
from streams.kafka import passes, reader, topic_ids, watermarks
from streams.kafka_rights import SINK_GROUP
from streams.settings import Settings

log = logging.getLogger("spendstream.sink")

_WAITING_BYTES = 96 << 20  # of all partitions' blocks, read ahead of their inserts: each has its share; one that is
# paused is fetched again at half of it
_JOIN_SECONDS = 10.0  # given to inserts under way when their partitions are revoked
_NO_TABLES = (47, 60, 81)  # ClickHouse's UNKNOWN_IDENTIFIER (a column of a newer release), _TABLE and _DATABASE
_PAUSED_SECONDS = 60.0  # a process that was stopped for longer lets a fresh one take over


class PartitionSink:
    """Inserts one partition's blocks in order, in a thread of its own, from its assignment to its revocation."""

    def __init__(
        self, settings: Settings, client: Client, progress: Progress, behind: int, refuse_pause: Callable[[], None]
    ) -> None:
        """`behind`: blocks up to this offset may have been inserted before. `refuse_pause` raises after a pause."""
        self.partition = progress.partition
        self.paused = False
        self._waiting: queue.Queue[Message] = queue.Queue()
        self._handed = self._taken = 0  # bytes, by the main thread and by this one
        self._settings = settings
        self._client = client
        self._progress = self._written = progress
        self._behind = behind
        self._refuse_pause = refuse_pause
        self._columns: frozenset[str] = frozenset()  # of table usage, as far as they are known
        self._written_at = time.monotonic()
        self._revoked = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink-{self.partition}", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the blocks that are read and not yet inserted."""
        return self._handed - self._taken

    @property
    def progress(self) -> Progress:
        """Up to and with the last block that ClickHouse has acknowledged."""
        return self._progress

    def hand_over(self, message: Message) -> None:
        """Give it the next block."""
        self._handed += len(message.value() or b"")
        self._waiting.put(message)

    def revoke(self) -> None:
        """Ask the thread to finish the insert under way, write progress and end."""
        self._revoked.set()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end. One that hangs in ClickHouse is left: it can only repeat an insert."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while not self._revoked.is_set():
                try:
                    message = self._waiting.get(timeout=0.2)
                except queue.Empty:
                    message = None
                if message is not None:
                    self._take(message)
                    self._taken += len(message.value() or b"")
                if self._progress != self._written and time.monotonic() - self._written_at >= 1.0:
                    self._write_progress()
            if self._progress != self._written:
                self._write_progress()
        except Exception as exc:
            fatal(exc)

    def _take(self, message: Message) -> None:
        offset = message.offset()
        assert offset is not None
        header = Header.from_kafka(message.headers())  # type: ignore[arg-type]
        known = self._progress
        if (header.log_id, header.block_log_id) != (known.log_id, known.block_log_id):
            raise Halt(
                f"spend.priced partition {self.partition}: a block of another log came ({header.log_id}): the broker "
                "was made anew; start the sink again, and it begins that log from its start"
            )
        block, mark = blocks.trim(Block(header, message.value() or b""), known.mark)
        if block is not None and block.header.rows and not self._insert(block, offset):
            return  # revoked while ClickHouse was away: the next owner inserts it
        self._progress = known.after(offset, block, mark)
        metrics.BLOCKS_INSERTED.labels(self.partition).inc()

    def _insert(self, block: Block, offset: int) -> bool:
        """Insert until ClickHouse has acknowledged it; False when the partition was revoked before."""
        token = f"{block.header.block_log_id}:{self.partition}:{offset}"
        settings = insert_settings(token)

        def insert(attempt: int) -> bool:
            if attempt:
                metrics.INSERT_RETRIES.inc()
            started = time.perf_counter()
            self._refuse_unknown_columns(block, offset)
            self._refuse_pause()  # ClickHouse may have forgotten the token of a block that others have inserted
            self._client.raw_insert("usage", insert_block=block.value, fmt="ArrowStream", settings=settings)
            if attempt or offset <= self._behind:
                self._confirm(block)
            metrics.INSERT_SECONDS.observe(time.perf_counter() - started)
            metrics.ROWS_INSERTED.labels(self.partition).inc(block.header.rows)
            return True

        what = f"partition {self.partition} block {offset}: ClickHouse did not take it"
        return insist(what, insert, self._revoked) is not None

    def _refuse_unknown_columns(self, block: Block, offset: int) -> None:
        """ClickHouse matches columns by name. What a block lacks, an older worker wrote it, becomes NULL; but what the
        table lacks would be dropped without a word."""
        names = columns_of(block.value)
        if not self._columns.issuperset(names):
            self._columns = frozenset(row[0] for row in self._client.query("DESCRIBE TABLE usage").result_rows)
        if unknown := [name for name in names if name not in self._columns]:
            raise Halt(
                f"partition {self.partition} block {offset}: table usage has no column {', '.join(unknown)}: a worker "
                "of a newer release wrote it. Run `spendstream migrate up` of that release, then start the sink again"
            )

    def _confirm(self, block: Block) -> None:
        """After a repeated insert: are the rows there, save those that were past their retention?

        A server that was killed between remembering a token and storing its part would take the repeat for a duplicate.
        """
        header = block.header
        kept_since = datetime.now(UTC) - timedelta(days=self._settings.raw_retention_days - 1)
        times = block.batch.column("time")
        past = pc.sum(pc.less(times, pa.scalar(kept_since.replace(tzinfo=None), times.type))).as_py() or 0
        [(found, lacks)] = self._client.query(
            f"""
            SELECT count(), {lacking("usage")} FROM usage
            WHERE log_id = {{log:String}} AND source_partition = {{partition:Int32}}
              AND source_offset BETWEEN {{first:Int64}} AND {{last:Int64}}
            """,
            parameters={
                "log": header.log_id,
                "partition": self.partition,
                "first": header.first,
                "last": header.last,
            },
        ).result_rows
        if found < header.rows - past and lacks:
            raise Unreachable("the replica of ClickHouse that answers has yet to fetch it from another")
        if not header.rows - past <= found <= header.rows:
            raise Halt(
                f"partition {self.partition}, source offsets {header.first} to {header.last}: ClickHouse says it has "
                f"the block, but holds {found} of its {header.rows} rows. Mend it with `spendstream repair`"
            )

    def _write_progress(self) -> None:
        try:
            write_progress(self._client, self._progress, datetime.now(UTC))
            self._written = self._progress
        except (ClickHouseError, OSError) as exc:
            log.warning("partition %d: progress is not written (%s)", self.partition, first_line(exc))
        self._written_at = time.monotonic()


class Sink:
    """Reads spend.priced as a member of the group `spendstream-sink` and feeds the partitions' threads."""

    def __init__(self, settings: Settings, from_earliest: bool = False) -> None:
        self._settings = settings
        self._from_earliest = from_earliest
        self._parts: dict[int, PartitionSink] = {}
        self._consumer: Consumer = reader(
            settings,
            SINK_GROUP,
            **{
                "session.timeout.ms": int(settings.session_timeout_seconds * 1000),
                "heartbeat.interval.ms": int(settings.session_timeout_seconds * 1000 / 6),
                "partition.assignment.strategy": "range",
                "queued.min.messages": 16,
                "fetch.queue.backoff.ms": 10,  # by default a full queue is looked at again after a second
                "enable.partition.eof": False,
                "topic.metadata.refresh.interval.ms": 10_000,  # a topic that was made anew is seen after this
                "max.poll.interval.ms": 86_400_000,  # waiting for ClickHouse is no reason to leave the group
            },
        )
        self._stopping = threading.Event()
        self._polled = uptime()
        self.ready = False

    def progress(self) -> list[Progress]:
        """That of each partition which this sink has; may be asked for from any thread."""
        return [part.progress for part in list(self._parts.values())]

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    def run(self) -> None:
        """Insert until `stop`; then finish what is under way."""
        self._consumer.subscribe([topics.PRICED], on_assign=self._assigned, on_revoke=self._gone, on_lost=self._gone)
        self._polled, observed = uptime(), time.monotonic()
        try:
            while not self._stopping.is_set():
                message = self._consumer.poll(0.1)
                self._refuse_pause()
                self._polled, now = uptime(), time.monotonic()
                if message is not None:
                    self._hand_over(message)
                self._resume()
                if now - observed > 1.0:
                    self._observe_lag()
                    self._tell_group()
                    observed = now
        except Exception as exc:
            fatal(exc)
        finally:
            self._gone(self._consumer, [])
            self._consumer.close()

    def _refuse_pause(self) -> None:
        paused = uptime() - self._polled
        if paused > _PAUSED_SECONDS:
            raise Halt(f"the sink was paused for {paused:.0f} s: start it again, it goes on behind its rows")

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        began = time.monotonic()
        try:
            ids = topic_ids(self._settings, topics.USAGE, topics.PRICED)
            for tp in partitions:
                found = self._read_progress(ids[topics.PRICED], ids[topics.USAGE], tp.partition)
                if found is None:
                    return  # asked to stop
                client, progress, since = found
                start, end = self._watermarks(tp.partition)
                tp.offset = self._begin(progress, since, start, end)
                self._parts[tp.partition] = PartitionSink(self._settings, client, progress, end - 1, self._refuse_pause)
                log.info("spend.priced partition %d: from block %d of %d", tp.partition, tp.offset, end)
            consumer.assign(partitions)
            self.ready = True
        except Exception as exc:
            fatal(exc)
        finally:
            self._polled += time.monotonic() - began  # waiting in here is no pause

    def _watermarks(self, partition: int) -> tuple[int, int]:
        looker = reader(self._settings)
        try:
            return watermarks(looker, topics.PRICED, partition)
        finally:
            looker.close()

    def _read_progress(self, block_log_id: str, log_id: str, partition: int) -> tuple[Client, Progress, int] | None:
        """A client and a partition's progress, as soon as ClickHouse answers; None when asked to stop before."""

        def ask(_: int) -> tuple[Client, Progress, int]:
            client = connect(self._settings)
            client.database = self._settings.clickhouse_database
            try:
                progress, since = read_progress(client, block_log_id, log_id, partition)
                if since is None:
                    if was_inserted_otherwise(client, block_log_id, log_id):
                        raise Halt(
                            "spend.priced was made anew and spend.usage was not: its events would be counted a second "
                            "time. Bring ClickHouse to the new blocks with `spendstream repair`"
                        )
                    # written before the first insert, so that `since` counts from there
                    write_progress(client, progress, datetime.now(UTC))
            except ClickHouseError as exc:
                if getattr(exc, "code", None) in _NO_TABLES:
                    raise Halt(f"{first_line(exc)}: make the tables with `spendstream migrate up`") from exc
                raise
            return client, progress, since or 0

        return insist(f"partition {partition}: its progress is not read", ask, self._stopping)

    def _begin(self, progress: Progress, since: int, start: int, end: int) -> int:
        """The first block to insert; the halts of invariant 5."""
        begin = progress.block_offset + 1
        where = f"spend.priced partition {progress.partition}"
        if begin > end:
            raise Halt(
                f"{where} ends at block {end}, but ClickHouse holds block {progress.block_offset}: the log lost its end"
            )
        if begin < start:
            if not (self._from_earliest and progress.mark is None):
                raise Halt(
                    f"{where}: blocks {begin} to {start - 1} have expired before they were inserted. "
                    "With an empty database, begin at the first that is left: `spendstream sink --from-earliest`"
                )
            begin = start
        if begin < end and since > TOKEN_WINDOW // 2:
            raise Halt(
                f"{where}: inserts took {since} tokens since its progress was written, so those of blocks from {begin} "
                "on may be forgotten. Bring it up to date with `spendstream repair`"
            )
        return begin

    def _gone(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [tp.partition for tp in partitions] or list(self._parts)
        parts = [self._parts.pop(partition) for partition in gone if partition in self._parts]
        if held := [TopicPartition(topics.PRICED, part.partition) for part in parts if part.paused]:
            consumer.resume(held)  # librdkafka would keep them paused for whoever gets them next, us for one
        for part in parts:
            part.revoke()
        began = time.monotonic()
        for part in parts:
            part.join(max(0.0, began + _JOIN_SECONDS - time.monotonic()))
        self._polled += time.monotonic() - began

    def _hand_over(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if passes(error):
                log.warning("Kafka: %s", error.str())
                return
            raise Halt(f"spend.priced: {error.str()}")
        part = self._parts.get(message.partition() or 0)
        if part is None:
            return
        part.hand_over(message)
        if part.waiting_bytes >= _WAITING_BYTES // len(self._parts):
            self._consumer.pause([TopicPartition(topics.PRICED, part.partition)])
            part.paused = True

    def _resume(self) -> None:
        for part in self._parts.values():
            if part.paused and part.waiting_bytes <= _WAITING_BYTES // len(self._parts) // 2:
                self._consumer.resume([TopicPartition(topics.PRICED, part.partition)])
                part.paused = False

    def _tell_group(self) -> None:
        """Commit what is inserted, for whoever watches the group's lag or adds sinks by it; nothing starts from it."""
        inserted = [TopicPartition(topics.PRICED, each.partition, each.block_offset + 1) for each in self.progress()]
        if inserted:
            self._consumer.commit(offsets=inserted, asynchronous=True)

    def _observe_lag(self) -> None:
        for partition in self._parts:
            tp = TopicPartition(topics.PRICED, partition)
            _, end = self._consumer.get_watermark_offsets(tp, cached=True)
            at = self._consumer.position([tp])[0].offset
            if end >= 0 and at >= 0:
                metrics.SINK_LAG.labels(partition).set(end - at)
