"""Any order of steps, any cut into batches, any crash, any zombie: the same rows and sums, once each.

What runs here is the real code: `decide`, the take-over from blocks, `trim`, the block's headers, the dedup index and
`Progress.after`. Around it is a model of what survives a crash (the log, the blocks, the raw rows, a rollup, tokens and
progress) and of processes that die at any step, or are replaced and go on working beside their successors.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clickhouse.progress import Progress
from schemas.codec import WriterSchemas
from schemas.usage_event import UsageEvent, to_avro
from streams import blocks, price_log
from streams.blocks import Block, Header
from streams.settings import Settings
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.dedupe import DedupIndex
from streams.spend.rates import RateTable, default_table
from streams.spend.records import Records

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WRITERS = WriterSchemas()
HORIZON = 25


@lru_cache(maxsize=1)
def rates() -> RateTable:
    return default_table([])


@cache
def value(number: int) -> bytes:
    """Record `number`: a call, or below zero one of the ways to be no call."""
    if number < 0:
        return (b"", b"\x7fnoise", value(1) + b"tail")[number % 3]
    return to_avro(
        UsageEvent(
            id=f"call-{number}",
            source="gateway",
            time=NOON + timedelta(seconds=number),
            provider="openai",
            request_model="gpt-4o",
            operation="chat",
            input_tokens=number + 1,
            output_tokens=number % 7,
        )
    )


@dataclass
class Message:
    """A message of spend.priced, as far as its readers look at it."""

    at: int
    pairs: list[tuple[str, bytes]]
    body: bytes

    def offset(self) -> int:
        return self.at

    def headers(self) -> list[tuple[str, bytes]]:
        return self.pairs

    def value(self) -> bytes:
        return self.body


@dataclass
class World:
    """What survives: the log, the blocks, and ClickHouse's tables, tokens and progress."""

    log: list[int]
    blocks: list[Message] = field(default_factory=list)
    contents: dict[int, bytes] = field(default_factory=dict)  # by token: what was sent under it
    raw: list[int] = field(default_factory=list)  # source offsets
    raw_tokens: set[int] = field(default_factory=set)
    rollup: Counter[str] = field(default_factory=Counter)  # picodollars by model
    rollup_tokens: set[int] = field(default_factory=set)
    progress: Progress = field(default_factory=lambda: Progress("blocks", "log", 0))


def take_over(world: World) -> PartitionState:
    state = PartitionState(
        log_id="log",
        block_log_id="blocks",
        partition=0,
        partitions=1,
        mark=-1,
        next_block=len(world.blocks),
        index=DedupIndex(HORIZON),
        poison=PoisonGuard(1000, 1.0),
    )
    if world.blocks:
        price_log._read_blocks(world, state, 0, len(world.blocks), Settings(dedup_horizon=HORIZON))  # type: ignore[arg-type]
    return state


class Worker:
    """A price agent of one partition. What it has decided and not yet published is in its hands."""

    def __init__(self, world: World) -> None:
        self.world, self.state, self.hands = world, take_over(world), None

    def decide(self, count: int) -> None:
        if self.hands is not None:
            return
        begin = self.state.mark + 1
        numbers = self.world.log[begin : begin + count]
        if not numbers:
            return
        offsets = np.arange(begin, begin + len(numbers), dtype=np.int64)
        times = np.full(len(numbers), int(NOON.timestamp() * 1e6) + 10**9, np.int64)
        values = [value(n) for n in numbers]
        records = Records.of([b"key"] * len(values), values, offsets, times)
        self.hands = decide(records, self.state, WRITERS, rates()).block

    def publish(self) -> None:
        block, self.hands = self.hands, None
        if block is None:
            return
        at = len(self.world.blocks)
        self.world.blocks.append(Message(at, block.header.to_kafka(), block.value))
        if at == self.state.next_block:
            self.state.mark, self.state.next_block = block.header.last, at + 1
        else:
            self.state = take_over(self.world)


class Sink:
    """A partition's sink; its progress is its own until it is written."""

    def __init__(self, world: World) -> None:
        self.world, self.progress = world, world.progress

    def step(self, dies_after: int = 2) -> bool:
        """Insert the next block: raw rows, then rollup; False when it died on the way."""
        at = self.progress.block_offset + 1
        if at >= len(self.world.blocks):
            return True
        message = self.world.blocks[at]
        header = Header.from_kafka(message.headers())
        block, mark = blocks.trim(Block(header, message.value()), self.progress.mark)
        if block is not None and block.header.rows:
            self.insert(at, block, dies_after)
        if dies_after < 2:
            return False
        self.progress = self.progress.after(at, block, mark)
        return True

    def insert(self, token: int, block: Block, parts: int) -> None:
        world = self.world
        assert world.contents.setdefault(token, block.value) == block.value, "one token, two contents"
        if parts > 0 and token not in world.raw_tokens:
            world.raw_tokens.add(token)
            world.raw += block.batch.column("source_offset").to_pylist()
        if parts > 1 and token not in world.rollup_tokens:
            world.rollup_tokens.add(token)
            for model, cost in zip(*(block.batch.column(n).to_pylist() for n in ("model", "cost_total")), strict=True):
                world.rollup[model] += int(cost * 10**12)

    def write_progress(self) -> None:
        if self.progress.block_offset > self.world.progress.block_offset:  # the greatest block offset counts
            self.world.progress = self.progress


def truth(log: list[int]) -> tuple[list[int], int, int]:
    """Accepted offsets, repeats and dead letters, worked out one record at a time."""
    accepted: dict[int, int] = {}
    rows, repeats, dead = [], 0, 0
    for offset, number in enumerate(log):
        if number < 0:
            dead += 1
        elif number in accepted and offset - accepted[number] <= HORIZON:
            repeats += 1
        else:
            accepted[number] = offset
            rows.append(offset)
    return rows, repeats, dead


def picodollars(number: int) -> int:
    """gpt-4o: $2.50 a million input tokens, $10 a million output tokens."""
    return (number + 1) * 2_500_000 + (number % 7) * 10_000_000


STEPS = st.tuples(
    st.sampled_from(
        ["decide", "publish", "new worker", "worker dies", "insert", "insert dies", "progress", "new sink"]
    ),
    st.integers(0, 20),
)
LOG = st.lists(st.one_of(st.integers(0, 24), st.integers(0, 24), st.integers(-3, -1)), min_size=30, max_size=100)


@pytest.fixture(autouse=True)
def _blocks_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_range(world: World, topic: str, partition: int, start: int, end: int) -> Iterator[Any]:
        yield from world.blocks[start:end]

    monkeypatch.setattr(price_log, "read_range", read_range)


def act(world: World, workers: list[Worker], sinks: list[Sink], step: str, n: int) -> None:
    worker, sink = workers[n % len(workers)], sinks[n % len(sinks)]
    if step == "decide":
        worker.decide(n + 1)
    elif step == "publish":
        worker.publish()
    elif step == "new worker":
        workers.append(Worker(world))  # the ones before live on
    elif step == "worker dies":
        workers[n % len(workers)] = Worker(world)
    elif step == "insert":
        sink.step()
    elif step == "insert dies":
        if not sink.step(dies_after=n % 2):
            sinks[n % len(sinks)] = Sink(world)
    elif step == "progress":
        sink.write_progress()
    else:
        sinks.append(Sink(world))


ZOMBIE = [("decide", 9), ("new worker", 0), ("decide", 19), ("publish", 1)]


@given(log=LOG, steps=st.lists(STEPS, max_size=50))
@example(log=list(range(60)), steps=[*ZOMBIE, ("publish", 0), ("decide", 20), ("publish", 0), ("worker dies", 0)])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_dies_every_event_is_counted_once(log: list[int], steps: list[tuple[str, int]]) -> None:
    world = World(log)
    workers, sinks = [Worker(world)], [Sink(world)]
    for step, n in steps:
        act(world, workers, sinks, step, n)
    for zombie in workers:
        zombie.publish()
    last = Worker(world)
    while last.state.mark + 1 < len(log):
        last.decide(1 + len(log) // 3)
        last.publish()
    for zombie_sink in sinks:
        zombie_sink.step()
    end = Sink(world)
    while end.progress.block_offset + 1 < len(world.blocks):
        assert end.step()

    rows, repeats, dead = truth(log)
    assert sorted(world.raw) == rows
    assert +world.rollup == +Counter({"gpt-4o": sum(picodollars(log[offset]) for offset in rows)})
    assert (end.progress.rows, end.progress.duplicates) == (len(rows), repeats)
    assert sum(end.progress.dead_letters.values()) == dead
    assert end.progress.mark == len(log) - 1 and end.progress.blocks == len(world.blocks)


def test_a_takeover_is_not_led_astray_by_a_paused_workers_block() -> None:
    """The block that bisection finds first is a repeat: what it covers was decided, and gone beyond, before it."""
    world = World(list(range(300)))
    first = Worker(world)
    first.decide(100)
    paused = Worker(world)
    paused.decide(100)
    first.publish()
    first.decide(100)
    first.publish()
    paused.publish()
    after = Worker(world)
    after.decide(100)
    after.publish()
    state = take_over(world)
    assert state.mark == 299
    assert state.index.newest == 299


def test_a_takeover_knows_what_was_accepted_on_both_sides_of_a_paused_workers_block() -> None:
    """The block before the repeat is behind it: what lies within the horizon begins further in front."""
    world = World([*range(40), 15])  # the last is one of 25 before, which is the horizon
    first = Worker(world)
    first.decide(10)
    first.publish()
    paused = Worker(world)
    paused.decide(10)
    for _ in range(2):
        first.decide(10)
        first.publish()
    paused.publish()
    after = Worker(world)
    for _ in range(2):
        after.decide(5)
        after.publish()
    newest = Worker(world)
    newest.decide(1)
    assert newest.hands is not None
    assert newest.hands.header.duplicates.tolist() == [40]
