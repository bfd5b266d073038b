"""100,000 members in the windows worker's state: memory, what is saved, and how soon the next worker goes on.

The members' spend is put on spend.totals as the totals agent would put it, a message a day and partition, and then the
last hours. The worker merges and saves it, is killed with SIGKILL, and another one takes over.
"""

import re
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.figures import Figure, Section
from benchmarks.machine import cpu_seconds, peak_memory
from schemas.priced import COSTS
from streams import blocks, topics, totals
from streams.errors import Halt
from streams.kafka import block_producer, read_range, reader, topic_ids, watermarks
from streams.settings import Settings
from streams.spend.dimensions import COUNTS
from streams.spend.totals import SCHEMA, split
from streams.supervisor import Stack

MEMBERS = {"user": 40_000, "customer": 30_000, "tag": 30_000}
DAYS = 7
RECENT = (7_200, 1_800)  # seconds ago, when each member had one more call
WANTED_SECONDS = 15.0
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class _Worker:
    """What the running windows worker says of itself."""

    lag: int
    saves: int


def measure(stack: Stack, tell: Callable[[str], None]) -> Section:
    """Fill, save, kill and take over; no windows worker runs before or after."""
    conf = stack.settings
    members = sum(MEMBERS.values())
    tell(f"putting {members:,} members with {DAYS} days on spend.totals")
    _fill(conf)
    stack.start("windows")
    began = time.monotonic()
    _wait(stack, lambda: _look(conf).lag == 0, "the totals are not merged")
    merged_in, used = time.monotonic() - began, cpu_seconds(stack.pid("windows"))
    saves = _look(conf).saves
    _wait(stack, lambda: _look(conf).saves >= saves + conf.partitions, "the state is not saved")
    memory, saved = peak_memory(stack.pid("windows")), _state_bytes(conf)
    tell("killing the windows worker")
    published = _end(conf, topics.WINDOWS)
    stack.kill("windows")
    killed = time.monotonic()
    stack.start("windows")
    ready = time.monotonic() - killed
    _send(conf, [_deltas(np.random.default_rng(1), _now(), 100)], DAYS + len(RECENT))
    _wait(stack, lambda: _end(conf, topics.WINDOWS) > published, "the next worker publishes no windows", 0.1)
    going_on = time.monotonic() - killed
    section = Section(
        f"{members:,} members in the windows worker's state",
        f"{', '.join(f'{count:,} of {name}' for name, count in MEMBERS.items())}: day and quarter-hour windows of "
        f"{DAYS} days for each, and {len(RECENT)} minutes of the last hours. The worker that merged them "
        "is killed; the broker gives its partitions to the next one when it has been silent for "
        f"SPEND_SESSION_TIMEOUT_SECONDS={conf.session_timeout_seconds:g}, which is part of the figures.",
    )
    section.figures.append(Figure("merging all of it", f"{merged_in:.1f} s", f"{used:.0f} s of processor"))
    section.most("its most memory, saving included", memory, "MB")
    section.most("saved in spend.state", saved / 1e6, "MB")
    section.most("from SIGKILL to /ready of the next worker", ready, "s", WANTED_SECONDS)
    section.most("from SIGKILL to its first windows", going_on, "s", WANTED_SECONDS)
    section.figures.append(Figure("of which reading the state", _read_in(stack)))
    section.most("most memory of the next worker", peak_memory(stack.pid("windows")), "MB")
    stack.stop("windows")
    return section


def _now() -> int:
    return int(datetime.now(UTC).timestamp()) // 60 * 60


def _fill(conf: Settings) -> None:
    random, noon = np.random.default_rng(7), _now() // 86_400 * 86_400 - 43_200
    days = [_deltas(random, noon - 86_400 * back) for back in range(DAYS - 1, -1, -1)]
    _send(conf, [*days, *(_deltas(random, _now() - ago) for ago in RECENT)], 0)


def _deltas(random: np.random.Generator, minute: int, most: int = 10**9) -> pl.DataFrame:
    """A call of each member in a minute; schema `totals.SCHEMA`."""
    named = [
        (name, f"{'key=' if name == 'tag' else ''}{name}-{number:06}")
        for name, count in MEMBERS.items()
        for number in range(min(count, most))
    ]
    tokens = random.integers(1, 20_000, len(named))
    picos = pl.Series(blocks.money(pa.array(tokens * 37_000_003)))
    none = np.zeros(len(named), np.int64)
    no_money = pl.Series(blocks.money(pa.array(none)))
    given = {
        "calls": none + 1,
        "input_tokens": tokens,
        "output_tokens": tokens,
        "cost_output": picos,
        "cost_total": picos,
    }
    return pl.DataFrame(
        {
            "dimension": [name for name, _ in named],
            "member": [member for _, member in named],
            "minute": none + minute,
            **{name: given.get(name, none) for name in COUNTS},
            **{name: given.get(name, no_money) for name in COSTS},
        }
    ).cast(SCHEMA)


def _send(conf: Settings, frames: list[pl.DataFrame], first: int) -> None:
    """A message a frame and partition of spend.totals, as of blocks `first` and on; and all sources at their latest."""
    ids = topic_ids(conf, topics.USAGE, topics.PRICED)
    producer = block_producer(conf)
    for block, frame in enumerate(frames, start=first):
        latest = int(frame["minute"].to_numpy().max()) * 1_000_000
        for source in range(conf.partitions):
            header = totals.Header(
                ids[topics.USAGE], ids[topics.PRICED], source, conf.partitions, block, block + 1, 0, 0, latest
            )
            values = [totals.write(part) for part in split(frame, conf.partitions)] if not source else None
            for partition in range(conf.partitions):
                value = values[partition] if values else b""
                producer.produce(topics.TOTALS, value, partition=partition, headers=header.to_kafka())  # type: ignore[arg-type]
    if producer.flush(60):
        raise Halt("the broker does not take the totals")


def _look(conf: Settings) -> _Worker:
    with urllib.request.urlopen(f"http://{conf.web_host}:{conf.windows_web_port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()

    def total(start: str) -> int:
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start)))

    lag = 'spend_lag_records{partition="'
    waiting = [line for line in lines if line.startswith(lag) and topics.TOTALS in line]
    behind = int(sum(float(line.rpartition(" ")[2]) for line in waiting))
    return _Worker(behind if len(waiting) == conf.partitions else 1, total("spend_checkpoint_seconds_count"))


def _wait(stack: Stack, is_so: Callable[[], bool], otherwise: str, every: float = 0.5) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        stack.check()
        if time.monotonic() > give_up:
            raise Halt(f"{otherwise} in {_PATIENCE_SECONDS:.0f} s; see {stack.log('windows')}")
        time.sleep(every)


def _end(conf: Settings, topic: str) -> int:
    looker = reader(conf)
    try:
        return sum(watermarks(looker, topic, partition)[1] for partition in range(conf.partitions))
    finally:
        looker.close()


def _state_bytes(conf: Settings) -> int:
    """Of each key of spend.state the latest value: what is left once the broker has compacted it."""
    looker, sizes = reader(conf), {}
    try:
        for partition in range(conf.partitions):
            for message in read_range(looker, topics.STATE, partition, *watermarks(looker, topics.STATE, partition)):
                sizes[partition, message.key()] = len(message.value() or b"")
    finally:
        looker.close()
    return sum(sizes.values())


def _read_in(stack: Stack) -> str:
    """How long the partitions' takeovers took in sum, from the log of the worker that runs."""
    said = re.findall(r"spend\.totals partition \d+: .* members, in ([\d.]+) s", stack.log("windows").read_text())
    return f"{sum(map(float, said[-stack.settings.partitions :])):.1f} s"
