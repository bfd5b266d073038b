"""The price agent's steps alone, on one thread and without Kafka: medians over batches of 50,000 records."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.figures import Section
from benchmarks.peers import job
from benchmarks.traffic import Traffic, traffic
from schemas.codec import WriterSchemas
from streams import blocks
from streams.spend.check import check
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.decode import decode
from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import fingerprints
from streams.spend.price import COLUMNS, price
from streams.spend.rates import default_table
from streams.spend.records import Records

Result = TypeVar("Result")

BATCH = 50_000
BATCHES = 8
ONE_BY_ONE = 5_000
HORIZON = 10_000_000


class _Clock:
    """Seconds of each named step, batch by batch."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, step: Callable[..., Result], *arguments: Any) -> Result:
        start = time.perf_counter()
        result = step(*arguments)
        self.seconds[name].append(time.perf_counter() - start)
        return result

    def micros(self, name: str) -> float:
        """Median microseconds an event; the first batch warms up and does not count."""
        return statistics.median(self.seconds[name][1:]) / BATCH * 1e6


def measure() -> Section:
    """Time every step of `decide`, the whole of it, and the same pricing by genai-prices' own function."""
    made = traffic(BATCH * BATCHES, seed=11)
    writers, table, clock = WriterSchemas(), default_table(), _Clock()
    state = _state()
    for records in _batches(made):
        decision = clock.time("decide", decide, records, state, writers, table)
        state.mark = int(records.offsets[-1])
        clock.time("encode", blocks.write, decision.block.batch)
    index = DedupIndex(HORIZON)
    for records in _batches(made):
        decoded = clock.time("decode", decode, records.values, writers)
        keep, _ = clock.time("check", check, decoded.batch, records.times_us[decoded.positions])
        events = decoded.batch.filter(pa.array(keep))
        clock.time("price", price, pl.DataFrame(events.select(COLUMNS)), table)
        clock.time("dedupe", _dedupe, index, events, records.offsets[decoded.positions[keep]])
    section = Section(
        "The price agent's steps",
        f"One process, no Kafka; medians over {BATCHES - 1} batches of {BATCH:,} records of {made.bytes_each:.0f} "
        "bytes on average, with the duplicates and the undecodable records that sample traffic has.",
    )
    for step, name in (
        ("decode", "decode: Avro records to Arrow"),
        ("check", "check: bounds and contradictions"),
        ("price", "price"),
        ("dedupe", "dedupe: fingerprint and index"),
        ("encode", "encode: the block, Arrow IPC with lz4"),
        ("decide", "all of it: `decide`"),
    ):
        section.micros(name, clock.micros(step))
    one_by_one = _calc_price_micros(made.values[:ONE_BY_ONE])
    section.micros("beside it, genai-prices' calc_price, event by event", one_by_one)
    section.ratio("price against calc_price", one_by_one / clock.micros("price"))
    return section


def _batches(made: Traffic) -> Iterator[Records]:
    now_us = time.time_ns() // 1000
    for start in range(0, BATCH * BATCHES, BATCH):
        stop = start + BATCH
        yield Records.of(made.keys[start:stop], made.values[start:stop], np.arange(start, stop), np.full(BATCH, now_us))


def _dedupe(index: DedupIndex, events: pa.RecordBatch, offsets: np.ndarray) -> np.ndarray:
    return index.accept(fingerprints(events.column("source"), events.column("id")), offsets)


def _state() -> PartitionState:
    return PartitionState("log", "blocks", 0, 4, -1, 0, DedupIndex(HORIZON), PoisonGuard(1_000, 0.5))


def _calc_price_micros(values: list[bytes]) -> float:
    events = [event for event in map(job.decode, values) if event is not None]
    start = time.perf_counter()
    for event in events:
        job.price(event)
    return (time.perf_counter() - start) / len(events) * 1e6
