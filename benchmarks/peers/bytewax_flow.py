"""The job as Bytewax's documentation teaches it: a dataflow with a Kafka input, a windowing operator and two sinks.

    python -m bytewax.run benchmarks.peers.bytewax_flow:flow

One worker process, as the command starts it; without recovery, which is off unless one asks for it: a crash loses all
windows and begins again. Windows are inserted when they close, ten minutes after their end by the watermark that
Bytewax keeps for each key; what comes later is dropped.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from benchmarks.peers import job

Member = tuple[datetime, int]  # when, and picodollars
ALIGN_TO = datetime(2020, 1, 1, tzinfo=UTC)


class Inserts(StatelessSinkPartition[Any]):
    """Inserts each batch that comes."""

    def __init__(self, insert: Callable[[Any], None]) -> None:
        self._insert = insert

    def write_batch(self, items: list[Any]) -> None:
        for _, rows in items:
            self._insert(rows)


class Table(DynamicSink[Any]):
    """A table of the store."""

    def __init__(self, insert: Callable[[job.Store], Callable[[Any], None]]) -> None:
        self._insert = insert

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Inserts:
        return Inserts(self._insert(job.Store("bench_bytewax")))


def priced(event: job.Event) -> tuple[job.Event, int | None]:
    """An event and its cost."""
    return event, job.price(event)


def one_each(item: tuple[job.Event, int | None]) -> list[tuple[str, Member]]:
    """An event once for each of its members."""
    event, picos = item
    return [("\0".join(member), (event["time"], picos or 0)) for member in job.members(event)]


def add(total: tuple[int, int], one: Member) -> tuple[int, int]:
    """Calls and picodollars with one call more."""
    return total[0] + 1, total[1] + one[1]


def merge(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Two totals as one."""
    return one[0] + other[0], one[1] + other[1]


def window(item: tuple[str, tuple[int, tuple[int, int]]]) -> job.Row:
    """A closed window: its number since `ALIGN_TO`, calls and picodollars."""
    member, (number, (calls, picos)) = item
    return job.window(*member.split("\0"), int(ALIGN_TO.timestamp()) + number * job.MINUTE, calls, picos)


def batched(name: str, rows: op.Stream[job.Row]) -> op.KeyedStream[list[job.Row]]:
    """Rows gathered for one insert."""
    keyed = op.key_on(f"{name}_together", rows, lambda _: name)
    return op.collect(f"{name}_batches", keyed, timedelta(seconds=job.INSERT_SECONDS), job.INSERT_ROWS)


flow = Dataflow("bench")
records = kop.input("usage", flow, brokers=[job.BROKERS], topics=[job.TOPIC])
events = op.filter_map("decode", records.oks, lambda message: job.decode(message.value))
costs = op.map("price", events, priced)
minutes = win.fold_window(
    "minutes",
    op.flat_map("members", costs, one_each),
    win.EventClock(ts_getter=lambda one: one[0], wait_for_system_duration=timedelta(minutes=10)),
    win.TumblingWindower(length=timedelta(minutes=1), align_to=ALIGN_TO),
    builder=lambda: (0, 0),
    folder=add,
    merger=merge,
)
rows = op.map("row", costs, lambda item: job.row(*item))
windows = op.map("window", minutes.down, window)
op.output("insert_rows", batched("rows", rows), Table(lambda store: store.insert_rows))
op.output("insert_windows", batched("windows", windows), Table(lambda store: store.insert_windows))
