"""How cost grows: with members, with the size of a batch, with partitions and workers, with the dedup index.

How the time of queries grows with months of data is measured where their rows are made, in `panels.py`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from benchmarks import dedupe_index, growth_workers
from benchmarks.figures import Section
from benchmarks.fresh_process import in_fresh_process
from benchmarks.machine import peak_memory
from benchmarks.marked_traffic import user, with_column
from benchmarks.windows_steps import Clock, partitions, priced, total_and_merge
from schemas.codec import encode_batch
from streams.event_columns import record_keys
from streams.sample.live import LiveTraffic
from streams.settings import Settings

MEMBERS = (1_000, 10_000, 100_000)
EVENTS, BATCH = 300_000, 50_000  # of each number of members: a day of traffic
BATCHES = {500: 25, 5_000: 9, BATCH: EVENTS // BATCH, 100_000: 3}  # how many, of which the first does not count
USERS = 10_000  # while batches differ: one of the above
INDEX = (1_000_000, 10_000_000, 100_000_000)
_DRAWN = 20_000  # calls that are drawn together at the least, which costs less than few at a time


@dataclass(frozen=True)
class Cost:
    """Processor microseconds an event of the price agent and of totals and merge; the most memory, MB."""

    agent: float
    windows: float
    memory: float


def measure(tell: Callable[[str], None]) -> Iterator[Section]:
    """Yields a section for each thing that grows.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    costs = {users: _cost(users, BATCH, tell) for users in MEMBERS}
    yield _members(costs)
    yield _batches({size: costs[USERS] if size == BATCH else _cost(USERS, size, tell) for size in BATCHES})
    yield growth_workers.measure(tell)
    yield _index(tell)


def _cost(users: int, size: int, tell: Callable[[str], None]) -> Cost:
    tell(f"{users:,} users in batches of {size:,} records")
    return in_fresh_process(cost_of, users, size, BATCHES[size])


def _members(costs: dict[int, Cost]) -> Section:
    section = Section(
        "Growth: members",
        f"{EVENTS:,} events of a day, each of a user drawn evenly from so many, in batches of {BATCH:,}; no Kafka. A "
        "process for each row; its most memory has the making of the events in it. Processor time of all threads, "
        "medians of the batches. Totals and merge are those of all partitions of spend.totals, without publishing.",
        headings=("users", "price agent", "totals and merge", "both", "most memory"),
    )
    for users, cost in costs.items():
        section.rows.append((f"{users:,}", *_told(cost), f"{cost.memory:,.0f} MB"))
    return section


def _batches(costs: dict[int, Cost]) -> Section:
    section = Section(
        "Growth: records in a batch",
        f"The same steps on the same traffic, with {USERS:,} users. A batch of 500 records has 2 minutes of it, one of "
        "100,000 has 8 hours.",
        headings=("records", "price agent", "totals and merge", "both", "events/s of a core"),
        beside=False,
    )
    for size, cost in costs.items():
        per_second = 1e6 / (cost.agent + cost.windows)
        section.rows.append((f"{size:,}", *_told(cost), f"{per_second:,.0f}"))
        section.bars[f"batches of {size:,}"] = per_second
    return section


def _told(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.agent:.2f} µs", f"{cost.windows:.2f} µs", f"{cost.agent + cost.windows:.2f} µs"


def cost_of(users: int, size: int, count: int) -> Cost:
    """Price, total and merge `count` batches of `size` records."""
    clock, parts = Clock(size), partitions(Settings())
    for number, block in enumerate(priced(clock, _encoded(users, size, count))):
        total_and_merge(clock, parts, number, block)
    agent = clock.micros("decide") + clock.micros("encode")
    return Cost(agent, clock.micros("totals") + clock.micros("merge"), peak_memory(os.getpid()))


def _encoded(users: int, size: int, count: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Keys and values of batches from the day before, so that `EVENTS` events are a day."""
    random, names = np.random.default_rng(users), pa.array([user(number) for number in range(users)])
    at = datetime.now(UTC) - timedelta(days=1)
    traffic = LiveTraffic(61, at)
    together = max(1, _DRAWN // size)
    for _ in range(0, count, together):
        since, at = at, at + timedelta(days=together * size / EVENTS)
        batch = traffic.events(since, at, together * size)
        batch = with_column(batch, "user", names.take(pa.array(random.integers(0, users, batch.num_rows))))
        keys, values = record_keys(batch), encode_batch(batch)
        for start in range(0, batch.num_rows, size):
            yield keys[start : start + size], values[start : start + size]


def _index(tell: Callable[[str], None]) -> Section:
    section = Section(
        "Growth: ids in the dedup index",
        "Random fingerprints, so that each look misses the processor's caches; the horizon is full, batches of "
        f"{dedupe_index.BATCH:,}, 1 % of them duplicates. The rebuild is that from fingerprints at hand; a worker "
        "reads the blocks besides.",
        headings=("ids", "an event", "slowest batch", "an id", "most memory", "rebuild"),
    )
    for entries in INDEX:
        tell(f"a dedup index of {entries:,} ids")
        found = in_fresh_process(dedupe_index.measure, entries)
        section.rows.append(
            (
                f"{entries:,}",
                f"{found.accept:.2f} µs",
                f"{found.slowest:.0f} ms",
                f"{found.bytes_each:.1f} bytes",
                f"{found.memory:,.0f} MB",
                f"{found.rebuild:.1f} s",
            )
        )
    return section
