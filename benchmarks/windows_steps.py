"""What windows cost on top of pricing: the steps of the windows worker alone, without Kafka, beside `decide`.

The same batches go through the price agent and then, as blocks, through the totals and the merge of every partition of
spend.totals. Figures are processor time, which other processes disturb less than the clock; polars works in threads.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.figures import Figure, Section
from benchmarks.traffic import traffic
from schemas.codec import WriterSchemas
from streams import blocks, totals
from streams.settings import Settings
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.dedupe import DedupIndex
from streams.spend.merging import Merging, Message, Source
from streams.spend.rates import default_table
from streams.spend.records import Records
from streams.spend.totals import deltas, split
from streams.windows_block import windows_block
from streams.windows_start import new_merging

Result = TypeVar("Result")

BATCH = 50_000
BATCHES = 8
WANTED = 60  # percent of what the price agent costs


class Clock:
    """Processor seconds of each named step, batch by batch; a batch has `size` records."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, step: Callable[..., Result], *arguments: Any) -> Result:
        start = time.process_time()
        result = step(*arguments)
        self.seconds[name].append(time.process_time() - start)
        return result

    def micros(self, name: str) -> float:
        """Median microseconds an event; the first batch warms up and does not count."""
        return statistics.median(self.seconds[name][1:]) / self._size * 1e6


@dataclass(frozen=True)
class PricedBlock:
    """A block as the price agent gives it, and the latest time in it, microseconds since 1970."""

    batch: pa.RecordBatch
    event_time_max: int


def measure() -> Section:
    """Time `decide`, totals, merge and what is published, on one partition of spend.usage."""
    clock, conf = Clock(BATCH), Settings()
    made = traffic(BATCH * BATCHES, seed=11)
    starts = range(0, BATCH * BATCHES, BATCH)
    batches = ((made.keys[start : start + BATCH], made.values[start : start + BATCH]) for start in starts)
    parts = partitions(conf)
    unwatched = [replace(part, watched=()) for part in partitions(conf)]
    rows = windows = 0
    for number, block in enumerate(list(priced(clock, batches))):
        source, values, touched = total_and_merge(clock, parts, number, block)
        clock.time("windows", _merge, unwatched, number, source, values)
        clock.time("publish", _publish, touched)
        if number:
            rows += block.batch.num_rows
            windows += sum(frame.height for levels in touched for frame in levels.values())
    section = Section(
        "Windows beside the price agent",
        f"Processor time, all threads, of one process without Kafka; medians over {BATCHES - 1} batches of {BATCH:,} "
        f"records, each {24 * 60 / BATCHES:.0f} minutes of traffic. A batch is decided, its block totalled, and the "
        f"totals merged into the windows of {conf.partitions} partitions, closed windows judged for anomalies.",
    )
    agent = clock.micros("decide") + clock.micros("encode")
    names = ("totals", "windows", "merge", "publish")
    totalled, windows_alone, merged, published = (clock.micros(name) for name in names)
    section.micros("price agent: `decide` and the block's encoding", agent)
    section.micros("totals: deltas, by partition, encoded", totalled)
    section.micros("merge: the windows alone, no dimension watched", windows_alone)
    section.micros("merge: windows, open windows, detectors", merged)
    section.rate(
        "price agent, totals and windows alone, one after the other", 1e6 / (agent + totalled + windows_alone), 120_000
    )
    section.micros("windows that changed as blocks of spend.windows", published)
    section.figures.append(Figure("windows published", f"{windows / rows:.2f} an event"))
    section.most("totals and windows, of the price agent", (totalled + windows_alone) / agent * 100, "%", WANTED)
    section.most("totals and merge, of the price agent", (totalled + merged) / agent * 100, "%", WANTED)
    section.most("with the blocks of spend.windows", (totalled + merged + published) / agent * 100, "%")
    return section


def priced(clock: Clock, batches: Iterable[tuple[list[bytes], list[bytes]]]) -> Iterator[PricedBlock]:
    """Batches of records, as keys and Avro values, become blocks: steps `decide` and `encode`."""
    writers, table = WriterSchemas(), default_table()
    state = PartitionState("log", "blocks", 0, 4, -1, 0, DedupIndex(10_000_000), PoisonGuard(1_000, 0.5))
    for keys, values in batches:
        offsets = np.arange(state.mark + 1, state.mark + 1 + len(keys))
        records = Records.of(keys, values, offsets, np.full(len(keys), time.time_ns() // 1000))
        decision = clock.time("decide", decide, records, state, writers, table)
        state.mark = int(offsets[-1])
        value = clock.time("encode", blocks.write, decision.block.batch)
        yield PricedBlock(blocks.read(value), decision.block.header.event_time_max)


def partitions(conf: Settings) -> list[Merging]:
    """The windows of all partitions of spend.totals, empty."""
    return [new_merging(conf, number, 1, conf.partitions) for number in range(conf.partitions)]


def total_and_merge(
    clock: Clock, parts: list[Merging], number: int, block: PricedBlock
) -> tuple[Source, list[bytes], list[dict[str, pl.DataFrame]]]:
    """Steps `totals` and `merge` of block `number`: its source, its totals by partition, the windows that changed."""
    values = clock.time("totals", _totals, block.batch, len(parts))
    source = Source(number, block.batch.num_rows, 0, 0, block.event_time_max)
    return source, values, clock.time("merge", _merge, parts, number, source, values)


def _totals(batch: pa.RecordBatch, partitions: int) -> list[bytes]:
    return [totals.write(frame) for frame in split(deltas(batch), partitions)]


def _merge(parts: list[Merging], offset: int, source: Source, values: list[bytes]) -> list[dict[str, pl.DataFrame]]:
    return [
        dict(part.apply([Message(offset, 0, source, totals.read(value))]).touched)
        for part, value in zip(parts, values, strict=True)
    ]


def _publish(touched: list[dict[str, pl.DataFrame]]) -> list[bytes]:
    return [windows_block("log", {level: [frame] for level, frame in levels.items()}) for levels in touched]
