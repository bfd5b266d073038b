"""The price agent over the embedded broker with more partitions and more workers: a backlog, by its blocks' times."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.consumer_lag import PRICE, until_level
from benchmarks.figures import Section
from benchmarks.machine import cpu_seconds
from benchmarks.over_kafka import Block, published_blocks
from benchmarks.traffic import Traffic, traffic
from streams.errors import Halt
from streams.producer import UsageProducer
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

SIZES = ((1, 1), (4, 1), (4, 2))  # partitions, workers
EVENTS = 250_000
SESSION_SECONDS = 8.0  # workers are stopped while the backlog is sent, and must not be missed


def measure(tell: Callable[[str], None]) -> Section:
    """A stack for each size; neither sink nor windows worker nor database runs.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    backlog = traffic(EVENTS, seed=62)
    section = Section(
        "Growth: partitions and workers",
        f"Price agents on a backlog of {len(backlog.keys):,} records; all had joined, and were stopped while it was "
        "sent. From their going on to the Kafka timestamp of the last block. This machine has "
        f"{os.cpu_count()} cores for workers and broker; processor time is that of the workers.",
        headings=("partitions", "workers", "events/s", "an event", "processor time", "blocks"),
        beside=False,
    )
    for partitions, workers in SIZES:
        tell(f"{partitions} partitions, {workers} workers")
        rate, micros, blocks = _drain(partitions, workers, backlog, tell)
        name = f"{partitions} partition{'s' * (partitions > 1)}, {workers} worker{'s' * (workers > 1)}"
        section.bars[name] = rate
        section.rows.append(
            (f"{partitions}", f"{workers}", f"{rate:,.0f}", f"{1e6 / rate:.2f} µs", f"{micros:.2f} µs", f"{blocks}")
        )
    return section


def _drain(partitions: int, workers: int, backlog: Traffic, tell: Callable[[str], None]) -> tuple[float, float, int]:
    """Records decided a second, processor microseconds of the workers for each, and how many blocks there were."""
    names = ["worker", *(f"worker-{number}" for number in range(2, workers + 1))]
    with tempfile.TemporaryDirectory(prefix="spendstream-bench-") as folder:
        conf = Settings(state_dir=Path(folder), partitions=partitions, session_timeout_seconds=SESSION_SECONDS)
        with Stack(on_free_ports(conf), parts=("broker", "topics", *names), tell=tell) as stack:
            for name in names:
                stack.pause(name)
            with UsageProducer(stack.settings) as producer:
                producer.send_many(backlog.keys, backlog.values)
            used, began = -_cpu(stack, names), time.time()
            for name in names:
                stack.resume(name)
            until_level(stack, *PRICE)
            found = _all_blocks(stack, len(backlog.keys))
            used += _cpu(stack, names)
            for name in (*names, "broker"):
                stack.kill(name)  # nothing of it is needed any more
    return len(backlog.keys) / (found[-1].at_ms / 1e3 - began), used / len(backlog.keys) * 1e6, len(found)


def _cpu(stack: Stack, names: list[str]) -> float:
    return sum(cpu_seconds(stack.pid(name)) for name in names)


def _all_blocks(stack: Stack, records: int) -> list[Block]:
    """The blocks of all records, of which the embedded broker may have told too early that they are there."""
    give_up = time.monotonic() + 30
    while True:
        found = published_blocks(stack.settings)
        if sum(block.records for block in found) >= records:
            return found
        stack.check()
        if time.monotonic() > give_up:
            raise Halt(f"not all of the {records:,} records are in blocks")
        time.sleep(0.5)
