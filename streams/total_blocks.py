"""The totals agent: priced blocks in, what they add to each member's minutes out.

One message a block and partition of spend.totals, named by the block, so that a repeat is known as one. How far it is
stands in spend.state, written after the messages are acknowledged: a crash between repeats messages and never loses
one. A partition that has been read to its end says so (`idle`), because its silence must not hold the watermark back.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

from confluent_kafka import Consumer
from faust.types import TP

from streams import blocks, metrics, topics, totals
from streams.blocks import Block
from streams.errors import Halt, Unreachable
from streams.gathering import Batch, Record
from streams.kafka import TAKING_OVER, read_range, reader, topic_ids, watermarks
from streams.publishing import OrderedProducer, end_process
from streams.settings import Settings
from streams.spend.totals import deltas, split

log = logging.getLogger("spendstream.windows")

_LOOK_BACK = 256  # records of spend.state
_IDLE_AFTER = 1.0  # seconds without a block before a partition is asked whether it is at its end
_ASK_AGAIN = 5.0  # seconds until one that was is asked again: by then it may have events that nobody prices


@dataclass(frozen=True)
class Progress:
    """How far a source partition is: the header of its last message, and its mark."""

    header: totals.Header
    mark: int | None = None  # None: nothing yet

    def to_json(self) -> bytes:
        """As it stands in spend.state."""
        return json.dumps({**asdict(self.header), "mark": self.mark}).encode()

    @classmethod
    def from_json(cls, value: bytes) -> "Progress":
        """Read it back."""
        said = json.loads(value)
        mark = said.pop("mark")
        return cls(totals.Header(**said), mark)


@dataclass
class _Partition:
    progress: Progress
    written: Progress
    written_at: float
    heard_at: float
    asked_at: float = 0.0
    lag: int = 0  # records of spend.usage that were not priced when it was asked last
    lag_since: float = 0.0


class TotalsStage:
    """A worker's part of spend.priced."""

    topic = topics.PRICED
    agent = "total_blocks"
    block_seconds = 0.02
    block_events = 64  # blocks
    batch_bytes = 16 << 20
    as_columns = False

    def __init__(self, settings: Settings) -> None:
        self.stall_seconds = settings.stall_seconds
        self._settings = settings
        self._producer = OrderedProducer(settings, self.fatal)
        self._looker = reader(settings)
        self._parts: dict[int, _Partition] = {}
        self._epoch = 0
        self._thread = ThreadPoolExecutor(1, "total")
        self._busy = asyncio.Lock()
        self.ready = False

    async def positions(self, tps: set[TP], epoch: int) -> Mapping[TP, int]:
        """Take over the partitions now assigned and say where each goes on."""
        async with self._busy:
            self._epoch = epoch
            self.ready = False
            self._parts = {}
            begin: dict[int, int] = {}
            if tps:
                # in the one thread: when this is cancelled by the next rebalance, the next take-over waits its turn
                numbers = sorted(tp.partition for tp in tps)
                loop = asyncio.get_running_loop()
                self._parts, begin = await loop.run_in_executor(self._thread, self._take_over, numbers)
            self.ready = True
            return {tp: begin[tp.partition] for tp in tps}

    def _take_over(self, partitions: list[int]) -> tuple[dict[int, _Partition], dict[int, int]]:
        ids = topic_ids(self._settings, topics.USAGE, topics.PRICED, topics.TOTALS, topics.STATE)
        count = self._producer.partitions(topics.USAGE)
        parts, begin, now = {}, {}, time.monotonic()
        consumer = reader(self._settings, **TAKING_OVER)
        try:
            for number in partitions:
                start = totals.Header(ids[topics.USAGE], ids[topics.PRICED], number, count)
                found = _saved(consumer, number)
                same = found is not None and (found.header.log_id, found.header.block_log_id) == (
                    start.log_id,
                    start.block_log_id,
                )
                progress = found if found is not None and same else Progress(start)
                first, end = watermarks(consumer, topics.PRICED, number)
                begin[number] = progress.header.block + 1
                if begin[number] > end:
                    raise Halt(f"spend.priced partition {number} lost its end: block {begin[number] - 1} was totalled")
                if begin[number] < first:
                    if same:
                        raise Halt(f"spend.priced partition {number}: blocks expired before they were totalled")
                    log.warning("spend.priced partition %d: windows begin at block %d, the first left", number, first)
                    begin[number] = first
                parts[number] = _Partition(progress, progress, now, now)
        finally:
            consumer.close()
        return parts, begin

    async def process(self, batch: Batch) -> None:
        """Total a batch of blocks and publish; returns when Kafka has acknowledged it."""
        async with self._busy:
            if batch.epoch == self._epoch:
                part = self._parts[batch.tp.partition]
                await asyncio.get_running_loop().run_in_executor(self._thread, self._total, batch.records, part)

    def _total(self, records: list[Record], part: _Partition) -> None:
        with metrics.TOTAL_SECONDS.time():
            for record in records:
                self._publish_block(record, part)
        with metrics.TOTAL_PUBLISH_SECONDS.time():
            self._producer.flush()
        part.heard_at = time.monotonic()
        self._write_progress(part)

    def _publish_block(self, record: Record, part: _Partition) -> None:
        known = part.progress.header
        header = blocks.Header.from_kafka(record.headers)  # type: ignore[attr-defined]
        if (header.log_id, header.block_log_id) != (known.log_id, known.block_log_id):
            raise Halt("spend.priced holds a block of another log: the broker was made anew; start the worker again")
        block, mark = blocks.trim(Block(header, record.value or b""), part.progress.mark)
        message = replace(known, block=record.offset, idle=0)
        count = self._producer.partitions(topics.TOTALS)
        if block is None:
            added = [b""] * count
        else:
            message = replace(
                message,
                events=known.events + block.header.rows,
                duplicates=known.duplicates + len(block.header.duplicates),
                dead_letters=known.dead_letters + block.header.dead_letter_count,
                event_time_max=max(known.event_time_max, block.header.event_time_max),
            )
            added = [totals.write(frame) for frame in split(deltas(block.batch), count)]
        for partition, value in enumerate(added):
            self._producer.send(topics.TOTALS, value, partition=partition, headers=message.to_kafka())
        part.progress = Progress(message, mark)

    def _write_progress(self, part: _Partition) -> None:
        if part.progress != part.written and time.monotonic() - part.written_at >= 1.0:
            number = part.progress.header.source_partition
            self._producer.send(topics.STATE, part.progress.to_json(), key=_key(number), partition=number)
            part.written, part.written_at = part.progress, time.monotonic()

    async def look_around(self) -> None:
        """Once a second: write progress that waits, and say which silent partitions are at their end."""
        async with self._busy:
            if self._parts:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._look_around)

    def _look_around(self) -> None:
        now = time.monotonic()
        for part in self._parts.values():
            again = _ASK_AGAIN if part.progress.header.idle else 0.0
            if now - part.heard_at > _IDLE_AFTER and now - part.asked_at >= again:
                part.asked_at = now
                try:
                    self._ask(part, now)
                except Unreachable as exc:  # nothing depends on this answer: it is asked for again
                    log.info("whether spend.usage is at its end is not known: %s", exc)
        for part in self._parts.values():
            self._write_progress(part)
        self._producer.flush()

    def _ask(self, part: _Partition, now: float) -> None:
        header = part.progress.header
        _, end = watermarks(self._looker, topics.USAGE, header.source_partition)
        _, blocks_end = watermarks(self._looker, topics.PRICED, header.source_partition)
        if blocks_end > header.block + 1:  # there are blocks, and this worker is behind
            part.lag = 0
            return
        mark = -1 if part.progress.mark is None else part.progress.mark
        if end - mark - 1 != part.lag or not part.lag:
            part.lag, part.lag_since = end - mark - 1, now
        if not part.lag and not header.idle:
            part.progress = Progress(replace(header, idle=1), part.progress.mark)
            for partition in range(self._producer.partitions(topics.TOTALS)):
                self._producer.send(topics.TOTALS, b"", partition=partition, headers=part.progress.header.to_kafka())

    def stalled(self) -> list[tuple[int, int, int, int]]:
        """(partition, mark, lag, seconds) of each partition that has events to price and no block came for long."""
        now = time.monotonic()
        return [
            (number, -1 if part.progress.mark is None else part.progress.mark, part.lag, int(now - part.heard_at))
            for number, part in self._parts.items()
            if part.lag > 0 and min(now - part.heard_at, now - part.lag_since) > self._settings.stall_seconds / 2
        ]

    def fatal(self, exc: BaseException) -> NoReturn:
        """End the process at once: what is not in spend.state is done again."""
        end_process(log, "the totals agent", exc)


def _key(partition: int) -> bytes:
    return f"totals/{partition}".encode()


def _saved(consumer: Consumer, partition: int) -> Progress | None:
    """The last that was saved, looked for from the end: far more of the topic are windows."""
    first, end = watermarks(consumer, topics.STATE, partition)
    start = end
    while start > first:
        start = max(first, end - max(_LOOK_BACK, 4 * (end - start)))
        saved = [
            message.value()
            for message in read_range(consumer, topics.STATE, partition, start, end)
            if message.key() == _key(partition) and message.value()
        ]
        if saved:
            return Progress.from_json(saved[-1] or b"")
    return None
