"""A model of what survives crashes of totals agents and windows owners, around the real code that they run.

Survive: blocks, how far each totals agent has said it is, spend.totals, spend.state, what was published. Everything
else dies with its process, at any message that it sends; or lives on beside its successor and repeats old things late.
"""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from streams import windows_log
from streams.raise_alerts import Alarms
from streams.spend.alert import Completeness, Origin
from streams.spend.anomaly import DETECTORS
from streams.spend.budget import Budget
from streams.spend.budget_book import BudgetBook
from streams.spend.closing import Closing
from streams.spend.explained import Explained
from streams.spend.merging import Merging, Message, Source
from streams.spend.watch import Watch
from streams.spend.windows import DAY, KEY, LEVELS, QUARTER_HOUR, Retention, Windows
from streams.windows_log import WindowsLog
from tests.unit.priced_rows_by_hand import Sums, deltas_of, summed

NOON = 1_795_780_800  # 2026-11-27 12:00 UTC
ZONE = ZoneInfo("Europe/Zurich")
IDS = ("usage", "priced", "totals")
HOUR, DOLLAR = 3_600, 10**12
ORIGIN = Origin("usage", Completeness(NOON, 0, 0, 0), ZONE)
BUDGETS = {
    name: Budget(id=name, name=name, scope=scope, member=member, period=period, limit_usd=limit, thresholds=[50],
                 created_at=datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    for name, scope, member, period, limit in (
        ("each", "workload", "*", "day", "12"),
        ("all", "global", "", "month", "60"),
        ("a-s", "workload", "a", "week", "25"),
    )
}  # fmt: skip


class Crash(Exception):
    """The process dies here."""


@dataclass(frozen=True)
class Record:
    """A record of spend.state."""

    at: int
    name: bytes
    body: bytes | None
    pairs: list[tuple[str, bytes]]

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes:
        return self.name

    def value(self) -> bytes | None:
        return self.body

    def headers(self) -> list[tuple[str, bytes]]:
        return self.pairs


@dataclass
class World:
    rng: random.Random
    blocks: list[list[tuple[pl.DataFrame, int]]] = field(default_factory=lambda: [[], []])  # deltas, latest event time
    progress: list[int] = field(default_factory=lambda: [-1, -1])
    totals: list[Message] = field(default_factory=list)
    state: list[Record] = field(default_factory=list)
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: dict[tuple[Any, ...], tuple[int, Sums]] = field(
        default_factory=dict
    )  # windows, as ClickHouse keeps them
    spent: Counter[tuple[str, datetime]] = field(default_factory=Counter)  # the truth: by member and minute

    def make_blocks(self, count: int) -> None:
        now = [NOON, NOON]
        for _ in range(count):
            partition = self.rng.randrange(2)
            now[partition] += self.rng.choice([60, 600, 4 * HOUR])
            rows = []
            for name in self.rng.sample("abcd", self.rng.randint(0, 3)):
                at = (now[partition] - self.rng.choice([0, 0, 120, 2 * HOUR, 30 * HOUR])) // 60 * 60
                picos = self.rng.randrange(1, 3 * DOLLAR)
                rows += [(*who, at, {"cost_total": picos}) for who in (("workload", name), ("global", ""))]
                self.spent[name, datetime.fromtimestamp(at, UTC)] += picos
            self.blocks[partition].append((deltas_of(rows), now[partition]))

    def compact(self) -> None:
        """Of each key the last record stays; offsets stay too."""
        last = {record.name: record.at for record in self.state}
        gone = {r.at for r in self.state[:-3] if last[r.name] != r.at or (r.body is None and self.rng.random() < 0.5)}
        self.state = [record for record in self.state if record.at not in gone]


@dataclass
class Sending:
    """What an owner sends to spend.state; `fuse` is how many records it lives for."""

    world: World
    fuse: int = 10**9

    def send(self, topic: str, value: bytes | None, **more: Any) -> list[int]:
        if self.fuse <= 0:
            raise Crash
        self.fuse -= 1
        at = self.world.state[-1].at + 1 if self.world.state else 0
        self.world.state.append(Record(at, more["key"], value, more.get("headers", [])))
        return [at]

    def flush(self) -> None:
        """Each record is there as soon as it is sent: dying before a flush is dying at an earlier record."""


class TotalsAgent:
    def __init__(self, world: World, partition: int) -> None:
        self.world, self.partition, self.at = world, partition, world.progress[partition]

    def step(self) -> None:
        blocks = self.world.blocks[self.partition]
        if self.at + 1 < len(blocks):
            self.at += 1
            self.tell(self.at, blocks[self.at][0])
        else:
            self.tell(self.at, blocks[0][0].clear() if blocks else deltas_of([]), idle=True)

    def tell(self, block: int, deltas: pl.DataFrame, idle: bool = False) -> None:
        latest = max((at for _, at in self.world.blocks[self.partition][: block + 1]), default=0)
        source = Source(block, block + 1, 0, 0, latest * 1_000_000, idle)
        self.world.totals.append(Message(len(self.world.totals), self.partition, source, deltas))

    def write_progress(self) -> None:
        self.world.progress[self.partition] = self.at  # a paused agent may set it back


class Owner:
    """A windows worker with the partition. `fuse`: the record of spend.state at which it dies."""

    def __init__(self, world: World, fuse: int = 10**9) -> None:
        self.world, self.sending = world, Sending(world, fuse)
        self.merging = Merging(
            Windows(0, ZONE, Retention(3 * HOUR, 40 * 86_400), 10),
            tuple(Closing(detector.window_seconds) for detector in DETECTORS),
            tuple(Watch(detector, 10, 10) for detector in DETECTORS),
            2,
            ("workload",),
        )
        self.book = BudgetBook(ZONE, lambda *_: True)
        self.alarms = Alarms(ZONE, set(world.alerts), {}, lambda *_: Explained((), None, "no"), lambda *_: False)
        self.changed: list[dict[str, pl.DataFrame]] = []
        self.log = WindowsLog(0)
        self.log.claim(self.sending)  # type: ignore[arg-type]
        summary = self.log.load(None, self.merging, IDS)  # type: ignore[arg-type]
        if summary is not None:
            self.book.put_back(summary["book"])
        self.log.save_summary(self.sending, self.merging, IDS, {"book": self.book.dump()})  # type: ignore[arg-type]
        self.tell(self.book.take_terms(BUDGETS, self.merging.windows, self.merging.watermark))

    def merge(self, count: int) -> None:
        merged = self.merging.apply(self.world.totals[self.merging.position :][:count])
        self.changed.append(dict(merged.touched))
        changes, _ = self.book.merge(merged.touched, merged.watermark)
        self.tell(changes)

    def tell(self, changes: Any) -> None:
        for alert in self.alarms.fresh(self.alarms.of_budgets(changes, BUDGETS, ORIGIN)):
            self.world.alerts.setdefault(alert.id, alert.document)

    def publish(self) -> None:
        for touched in self.changed:
            for level, frame in touched.items():
                for version, (key, sums) in zip(frame["version"], summed(frame, *KEY).items(), strict=True):
                    known = self.world.published.get((level, *key))
                    if known is None or known[0] <= version:
                        self.world.published[level, *key] = version, sums
        self.changed.clear()

    def save(self) -> None:
        self.publish()
        self.log.save(self.sending, self.merging, IDS, {"book": self.book.dump()})  # type: ignore[arg-type]


def read_the_state_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_range(_: Any, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        yield from [record for record in world.state if start <= record.at < end]

    ends = lambda *_: (0, world.state[-1].at + 1 if world.state else 0)  # noqa: E731
    monkeypatch.setattr(windows_log, "watermarks", ends)
    monkeypatch.setattr(windows_log, "read_range", read_range)


def run(seed: int, monkeypatch: pytest.MonkeyPatch, steps: int = 60) -> tuple[World, Owner]:
    """Random steps of agents and owners that die at any of them; then everything is done to its end."""
    world = World(random.Random(seed))
    world.make_blocks(25)
    read_the_state_of(world, monkeypatch)
    rng = world.rng
    agents = [TotalsAgent(world, partition) for partition in (0, 1)]
    owners: list[Owner] = []
    for _ in range(steps):
        if rng.random() < 0.6:
            agent = rng.choice(agents)
            agent.step()
            if rng.random() < 0.3:
                agent.write_progress()
            if rng.random() < 0.15:  # a successor; who was there lives on, or not
                if rng.random() < 0.5:
                    agents.remove(agent)
                agents.append(TotalsAgent(world, agent.partition))
            continue
        if not owners or rng.random() < 0.1:
            fuse = rng.randrange(60) if rng.random() < 0.5 else 10**9
            with suppress(Crash):
                owners.append(Owner(world, fuse))
            del owners[: max(0, len(owners) - 3)]
            continue
        owner = rng.choice(owners)
        try:
            what = rng.random()
            if what < 0.6:
                owner.merge(rng.randint(1, 8))
            elif what < 0.75:
                owner.publish()
            else:
                owner.save()
            if rng.random() < 0.1:
                raise Crash
        except Crash:
            owners.remove(owner)
        if rng.random() < 0.1:
            world.compact()
    for partition in (0, 1):
        last = TotalsAgent(world, partition)
        while last.at + 1 < len(world.blocks[partition]):
            last.step()
        last.step()
    end = Owner(world)
    while end.merging.position < len(world.totals):
        end.merge(rng.randint(1, 8))
        if rng.random() < 0.2 and owners:
            with suppress(Crash):
                rng.choice(owners).save()  # a paused one wakes up
    end.save()
    return world, end


def without_a_crash(world: World) -> Owner:
    """The same log, message by message, by one owner that never dies."""
    calm = World(random.Random(0), totals=world.totals)
    owner = Owner.__new__(Owner)
    with pytest.MonkeyPatch.context() as patch:
        read_the_state_of(calm, patch)
        owner.__init__(calm)  # type: ignore[misc]
        while owner.merging.position < len(calm.totals):
            owner.merge(1)
    owner.publish()
    return owner


def windows_by_hand(world: World) -> dict[str, dict[tuple[str, int], int]]:
    """Picodollars of each workload by quarter and day."""
    found: dict[str, dict[tuple[str, int], int]] = {QUARTER_HOUR: Counter(), DAY: Counter()}
    for (name, at), picos in world.spent.items():
        midnight = at.astimezone(ZONE).replace(hour=0, minute=0)
        found[QUARTER_HOUR][name, int(at.timestamp()) // 900 * 900] += picos
        found[DAY][name, int(midnight.timestamp())] += picos
    return found


def windows_in(frames: dict[str, dict[tuple[Any, ...], Sums]]) -> dict[str, dict[tuple[str, int], int]]:
    """The workloads' picodollars of windows by level."""
    return {
        level: {(key[1], key[2]): sums["cost_total"] for key, sums in frames[level].items() if key[0] == "workload"}
        for level in (QUARTER_HOUR, DAY)
    }


def crossings_by_hand(world: World) -> set[str]:
    """Ids of the openings that these costs make, in whatever order they came."""
    by_budget: Counter[tuple[str, str, str]] = Counter()
    for (name, at), picos in world.spent.items():
        day = at.astimezone(ZONE).date()
        by_budget["all", "", day.replace(day=1).isoformat()] += picos
        if name == "a":
            by_budget["a-s", "a", (day - timedelta(days=day.weekday())).isoformat()] += picos
        by_budget["each", name, day.isoformat()] += picos
    limits = {"all": 60 * DOLLAR, "a-s": 25 * DOLLAR, "each": 12 * DOLLAR}
    return {
        f"budget/{budget}/{member}/{first}/{level}/{'opened' if level == 50 else 'escalated'}"
        for (budget, member, first), picos in by_budget.items()
        for level in (50, 100)
        if picos * 100 >= level * limits[budget]
    }


def levels_of(owner: Owner) -> dict[str, dict[tuple[Any, ...], Sums]]:
    """An owner's windows by level."""
    return {
        level: summed(pl.concat([c.frame for c in owner.merging.windows.chunks[level].values()]), *KEY)
        for level in LEVELS
        if owner.merging.windows.chunks[level]
    }
