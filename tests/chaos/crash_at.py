"""A part of the stack that dies or stops at one exact step: the real command, with one method wrapped.

    python crash_at.py STEP COMMAND...        # crash_at.py block-decided worker

The process kills or stops itself with a signal when it comes to the step. It says so on its output before, and, when it
was stopped and is awake again, once the wrapped method has returned.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from clickhouse_connect.driver.httpclient import HttpClient

import clickhouse.sink
import streams.merge_totals
from clickhouse.progress import Progress
from clickhouse.sink import PartitionSink
from streams import topics
from streams.cli import main
from streams.merge_totals import MergeStage
from streams.price_events import PriceStage
from streams.publishing import OrderedProducer
from streams.told_alerts import ToldAlerts
from streams.total_blocks import TotalsStage
from streams.transport import BatchConsumer
from streams.windows_log import WindowsLog


def die(number: signal.Signals = signal.SIGKILL) -> None:
    """End here, or stop here; other threads go no further either."""
    print(f"crash_at: {number.name}", flush=True)
    os.kill(os.getpid(), number)
    time.sleep(0.05)  # the signal may take a moment to reach this thread


def before(owner: Any, name: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Die when `owner.name` is called for the first time."""
    original = getattr(owner, name)
    reached = False

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal reached
        first, reached = not reached, True
        if first:
            die(number)
        result = original(*args, **kwargs)
        if first:
            print("crash_at: went on", flush=True)
        return result

    setattr(owner, name, wrapped)


def dead_letters_acknowledged() -> None:
    """Between the dead letters' acknowledgement and the block."""
    send = OrderedProducer.send

    def wrapped(self: OrderedProducer, topic: str, *args: Any, **kwargs: Any) -> list[int]:
        if topic == topics.DEAD_LETTER:
            wrapped.seen = True  # type: ignore[attr-defined]
        elif getattr(wrapped, "seen", False):
            die()
        return send(self, topic, *args, **kwargs)

    OrderedProducer.send = wrapped  # type: ignore[method-assign]


def block_sent() -> None:
    """The block is on its way, or there; its acknowledgement is not read."""
    send = OrderedProducer.send

    def wrapped(self: OrderedProducer, topic: str, *args: Any, **kwargs: Any) -> list[int]:
        acknowledged = send(self, topic, *args, **kwargs)
        if topic == topics.PRICED:
            time.sleep(0.02)
            die()
        return acknowledged

    OrderedProducer.send = wrapped  # type: ignore[method-assign]


def inserted() -> None:
    """An insert is acknowledged, its progress not written."""
    write = clickhouse.sink.write_progress

    def wrapped(client: Any, progress: Progress, *args: Any) -> None:
        if progress.block_offset >= 0:
            die()
        write(client, progress, *args)

    clickhouse.sink.write_progress = wrapped


def insert_sent() -> None:
    """A few milliseconds after the insert of a block began; reports of health are inserted before."""
    insert = HttpClient.raw_insert

    def wrapped(self: HttpClient, table: str, *args: Any, **kwargs: Any) -> Any:
        if table == "usage":
            threading.Timer(0.005, die).start()
        return insert(self, table, *args, **kwargs)

    HttpClient.raw_insert = wrapped  # type: ignore[method-assign]


def stopped_for_long() -> None:
    """Stopped before an insert, and a pause is too long after two seconds, not after a minute."""
    clickhouse.sink._PAUSED_SECONDS = 2.0
    before(PartitionSink, "_insert", signal.SIGSTOP)


def checkpoints_often() -> None:
    """The state of the windows is saved every second, not every 30."""
    streams.merge_totals.CHECKPOINT_SECONDS = 1.0


def totals_sent(number: signal.Signals = signal.SIGKILL) -> None:
    """Totals are acknowledged, the progress that covers them is not written."""
    write, reached = TotalsStage._write_progress, False

    def wrapped(self: TotalsStage, part: Any) -> None:
        nonlocal reached
        if part.progress.header.block > part.written.header.block and not reached:
            reached = True
            die(number)
            print("crash_at: went on", flush=True)
        write(self, part)

    TotalsStage._write_progress = wrapped  # type: ignore[method-assign]


def checkpoint(part: str, number: signal.Signals = signal.SIGKILL) -> None:
    """In the middle of a checkpoint: parts are saved up to and with the first of that kind, the rest is not."""
    checkpoints_often()
    send, reached = WindowsLog._send, False

    def wrapped(self: WindowsLog, producer: OrderedProducer, name: str, *args: Any) -> None:
        nonlocal reached
        send(self, producer, name, *args)
        if name.startswith(part) and not reached:
            reached = True
            producer.flush()
            die(number)
            print("crash_at: went on", flush=True)

    WindowsLog._send = wrapped  # type: ignore[method-assign]


def checkpoint_saved() -> None:
    """A checkpoint is complete, and nothing was published since."""
    checkpoints_often()
    save = WindowsLog.save

    def wrapped(self: WindowsLog, producer: OrderedProducer, merging: Any, *args: Any) -> None:
        save(self, producer, merging, *args)
        if merging.position:
            die()

    WindowsLog.save = wrapped  # type: ignore[method-assign]


def alerts_sent(acknowledged: bool) -> None:
    """Alerts are on the topic, or on their way; the state that they follow from is not saved."""
    tell = ToldAlerts.tell

    def wrapped(self: ToldAlerts, alarms: Any, found: Any) -> None:
        before = len(alarms.published)
        tell(self, alarms, found)
        if len(alarms.published) > before:
            self._producer.flush() if acknowledged else time.sleep(0.002)
            die()

    ToldAlerts.tell = wrapped  # type: ignore[method-assign]


def windows_published() -> None:
    """Windows are on the topic, the state that they come from is not saved."""
    publish = MergeStage._publish

    def wrapped(self: MergeStage, part: Any, *args: Any, **more: Any) -> None:
        waiting = bool(part.changed)
        publish(self, part, *args, **more)
        if waiting and not part.changed:
            self._producer.flush()
            die()

    MergeStage._publish = wrapped  # type: ignore[method-assign]


def merge_stop() -> None:
    """Stopped with totals in hand, after checkpoints."""
    checkpoints_often()
    merge, reached = MergeStage._merge, False

    def wrapped(self: MergeStage, records: list[Any], part: Any) -> None:
        nonlocal reached
        if part.merging.sources and any(record.value for record in records) and not reached:
            reached = True
            die(signal.SIGSTOP)
            print("crash_at: went on", flush=True)
        merge(self, records, part)

    MergeStage._merge = wrapped  # type: ignore[method-assign]


STEPS: dict[str, Callable[[], None]] = {
    "block-decided": lambda: before(PriceStage, "_publish"),
    "dead-letters-acknowledged": dead_letters_acknowledged,
    "block-sent": block_sent,
    "block-acknowledged": lambda: before(BatchConsumer, "done"),
    "block-decided-stop": lambda: before(PriceStage, "_publish", signal.SIGSTOP),
    "insert": lambda: before(PartitionSink, "_insert"),
    "insert-sent": insert_sent,
    "inserted": inserted,
    "insert-stop": lambda: before(PartitionSink, "_insert", signal.SIGSTOP),
    "insert-stop-long": stopped_for_long,
    "checkpoints-often": checkpoints_often,
    "totals-sent": totals_sent,
    "totals-sent-stop": lambda: totals_sent(signal.SIGSTOP),
    "checkpoint-chunks": lambda: checkpoint("quarter_hour/"),
    "checkpoint-closings": lambda: checkpoint("closing/300"),
    "checkpoint-stop": lambda: checkpoint("day/", signal.SIGSTOP),
    "checkpoint-saved": checkpoint_saved,
    "alerts-sent": lambda: alerts_sent(acknowledged=True),
    "alerts-on-the-way": lambda: alerts_sent(acknowledged=False),
    "windows-published": windows_published,
    "merge-stop": merge_stop,
}

if __name__ == "__main__":
    STEPS[sys.argv[1]]()
    sys.argv = ["spendstream", *sys.argv[2:]]
    main()
