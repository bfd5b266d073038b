"""More partitions for the log of events, without forgetting who was counted.

A key's partition is its hash modulo their number, so in a grown log a repeat may come to another partition than its
first. Growing to a multiple keeps that simple: all keys of a new partition come from one old one, its number modulo the
old count. The new partition's first block, which has no rows, says which one and up to which offset
(`blocks.Header.follows`); whoever takes the partition over, and the audit, go on from what was accepted there.

`spend.priced` grows first and `spend.usage` last: whatever dies in between, workers refuse logs of different shapes,
and running it again finishes the move. `spend.totals` and `spend.windows` stay as they are: members keep their windows.
"""

import time
from collections.abc import Callable

import pyarrow as pa

from schemas.priced import priced_arrow
from streams import blocks
from streams.blocks import Header
from streams.errors import Halt, SpendError
from streams.kafka import admin, read_range, reader, send_all, topic_ids, watermarks
from streams.kafka_groups import group_members
from streams.kafka_rights import PRICE_GROUP, SINK_GROUP, WINDOWS_GROUP
from streams.kafka_topics import add_partitions
from streams.settings import Settings
from streams.topics import PRICED, STATE, USAGE

_LOOK_BACK = 100  # blocks; paused workers' blocks, which repeat others, may stand last


def grow(settings: Settings, partitions: int, tell: Callable[[str], None]) -> None:
    """Grow `spend.usage`, `spend.priced` and `spend.state`; `tell` is given a line about each step.

    Raises:
        SpendError: there is no log, or `partitions` is not a multiple of what there is.
        Halt: a process runs, or events are not priced yet, and nothing was changed; or events came meanwhile.
        Unreachable: Kafka does not answer, or refuses.
    """
    found = admin(settings).list_topics(timeout=10).topics
    if missing := {USAGE, PRICED, STATE} - found.keys():
        raise SpendError(f"there is no topic {', '.join(sorted(missing))}: `spendstream topics create` makes it")
    old, half = len(found[USAGE].partitions), len(found[PRICED].partitions)
    if partitions <= old or partitions % old:
        raise SpendError(f"{USAGE} has {old} partitions: it can grow to a multiple of them, such as {2 * old}")
    if half not in (old, partitions):
        raise SpendError(f"{PRICED} has {half} partitions already: `spendstream topics grow {half}` finishes that move")
    _require_none_runs(settings, tell)
    marks = _marks(settings, old)
    _refuse_waiting(settings, marks, "let `spendstream worker` price them, stop it, then grow")
    _add_partitions(settings, PRICED, partitions, tell)
    _write_first_blocks(settings, marks, partitions)
    tell(f"{PRICED}: each new partition goes on where an old one is")
    _add_partitions(settings, STATE, partitions, tell)
    _refuse_waiting(settings, marks, "stop the producers, have them priced, and grow again: nothing is lost")
    _add_partitions(settings, USAGE, partitions, tell)
    _refuse_waiting(settings, marks, "the log has grown, but later repeats of these may not be recognised")


def _require_none_runs(settings: Settings, tell: Callable[[str], None]) -> None:
    """A process that was killed is still a member until its session is over: whoever is one for longer lives."""
    give_up, told = time.monotonic() + 1.5 * settings.session_timeout_seconds, False
    while any((running := group_members(settings, PRICE_GROUP, WINDOWS_GROUP, SINK_GROUP)).values()):
        names = f"(consumer groups {', '.join(name for name, members in running.items() if members)})"
        if time.monotonic() > give_up:
            raise Halt(f"processes still run {names}: stop workers, windows workers and sinks, then grow")
        if not told:
            tell(f"processes run, or were killed just now {names}: waiting for their sessions to end")
            told = True
        time.sleep(0.2)


def _marks(settings: Settings, partitions: int) -> list[int]:
    """The last source offset of each partition that is in a block; -1 before the first."""
    consumer = reader(settings)
    try:
        marks = []
        for number in range(partitions):
            start, end = watermarks(consumer, PRICED, number)
            last = read_range(consumer, PRICED, number, max(start, end - _LOOK_BACK), end)
            marks.append(max((Header.from_kafka(m.headers()).last for m in last), default=-1))  # type: ignore[arg-type]
        return marks
    finally:
        consumer.close()


def _refuse_waiting(settings: Settings, marks: list[int], what_now: str) -> None:
    consumer = reader(settings)
    try:
        for number, mark in enumerate(marks):
            start, end = watermarks(consumer, USAGE, number)
            at = max(start, mark + 1)
            if next(read_range(consumer, USAGE, number, at, end), None) is not None:
                raise Halt(f"{USAGE} partition {number}: up to {end - at} events have no price yet: {what_now}")
    finally:
        consumer.close()


def _add_partitions(settings: Settings, topic: str, partitions: int, tell: Callable[[str], None]) -> None:
    add_partitions(settings, topic, partitions)
    tell(f"{topic}: {partitions} partitions")


def _write_first_blocks(settings: Settings, marks: list[int], partitions: int) -> None:
    """A block without rows at the head of each new partition; of several the last counts, as a move may begin anew."""
    ids = topic_ids(settings, USAGE, PRICED)
    nothing = blocks.write(pa.RecordBatch.from_pylist([], schema=priced_arrow()))
    records = []
    for number in range(len(marks), partitions):
        origin = number % len(marks)
        header = Header(ids[USAGE], ids[PRICED], number, 0, -1, 0, "", follows=(origin, marks[origin]))
        records.append({"value": nothing, "partition": number, "headers": header.to_kafka()})
    send_all(settings, PRICED, records)
