"""What a price agent takes over with a partition: its mark and its dedup index, read from the partition's blocks.

`spend.priced` is the log of decisions, so nothing else has to be kept: a new owner, a restarted worker and a new
release all rebuild the same state from the same blocks.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer

from streams import blocks, topics
from streams.blocks import Block, Header, Hole
from streams.errors import Halt
from streams.kafka import TAKING_OVER, read_range, reader, watermarks
from streams.settings import Settings
from streams.spend.decide import PartitionState, PoisonGuard
from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import fingerprints

log = logging.getLogger("spendstream.price")


@dataclass(frozen=True)
class LogIds:
    """The ids of spend.usage and spend.priced, and the partition count that they share."""

    usage: str
    priced: str
    partitions: int


def take_over(settings: Settings, ids: LogIds, partition: int, accept_gap: bool = False) -> tuple[PartitionState, int]:
    """Rebuild a partition's state from its blocks.

    Args:
        settings: the settings.
        ids: the logs of this moment.
        partition: the partition.
        accept_gap: go on at the first event that is left, when earlier ones have expired unpriced.

    Returns:
        The state, and the offset of spend.usage to go on at: mark + 1, or beyond an accepted gap.

    Raises:
        Halt: events or blocks that are needed have expired, or the blocks speak of another log.
    """
    consumer = reader(settings, **TAKING_OVER)
    try:
        start, end = watermarks(consumer, topics.PRICED, partition)
        state = PartitionState(
            log_id=ids.usage,
            block_log_id=ids.priced,
            partition=partition,
            partitions=ids.partitions,
            mark=-1,
            next_block=end,
            index=DedupIndex(settings.dedup_horizon),
            poison=PoisonGuard(settings.poison_window, settings.poison_share),
        )
        if end > start:
            _read_blocks(consumer, state, start, end, settings)
        usage_start, usage_end = watermarks(consumer, topics.USAGE, partition)
        _refuse_gap(state, usage_start, usage_end, accept_gap)
        begin = max(state.mark + 1, usage_start)
    finally:
        consumer.close()
    log.info(
        "spend.usage partition %d: next offset %d, %d identities in the dedup index, next block %d",
        partition,
        begin,
        len(state.index),
        state.next_block,
    )
    return state, begin


def _read_blocks(consumer: Consumer, state: PartitionState, start: int, end: int, settings: Settings) -> None:
    """Load the last `dedup_horizon` source offsets' worth of blocks."""
    newest = _header(consumer, state.partition, end - 1)
    at = _first_needed(consumer, state.partition, start, end, newest.last - settings.dedup_horizon)
    try:
        _load(consumer, state, at, end, newest.last - settings.poison_window)
    except Hole:
        # Begun at a repeat: paused workers' blocks stand behind those of their successors.
        state.index = DedupIndex(settings.dedup_horizon)
        state.poison = PoisonGuard(settings.poison_window, settings.poison_share)
        _load(consumer, state, start, end, newest.last - settings.poison_window, whole=True)


def _load(
    consumer: Consumer, state: PartitionState, at: int, end: int, poison_from: int, *, whole: bool = False
) -> None:
    """Fill the state from the blocks from `at` up to, not including, `end`; `whole`: and from all that they follow."""
    _inherit(consumer, state, state.partition, at, end, whole=whole)
    mark: int | None = None
    for block, mark in _decided(consumer, state, state.partition, at, end):
        if block is not None:
            _remember(state, block, mark, 0)
            if mark > poison_from:
                state.poison.remember(block.header.last - block.header.first + 1, block.header.dead_letter_count)
    state.mark = -1 if mark is None else mark


def _inherit(
    consumer: Consumer, state: PartitionState, partition: int, at: int, end: int, *, origin: int = 0, whole: bool
) -> None:
    """Where the blocks from `at` on begin with a partition's first: load what it follows, at offsets below `origin`.

    Args:
        partition: the one whose blocks those are.
        origin: its offset 0 as the state counts. What it follows ends just before, as if it were one partition.
        whole: from the first block that is left, not only the horizon's.
    """
    follows = _follows(consumer, partition, at, end)
    if follows is None:
        return
    before, last = follows
    start, stop = watermarks(consumer, topics.PRICED, before)
    origin -= last + 1
    if start < stop:
        at = start if whole else _first_needed(consumer, before, start, stop, -origin - state.index.horizon)
        _inherit(consumer, state, before, at, stop, origin=origin, whole=whole)
        for block, mark in _decided(consumer, state, before, at, stop):
            if block is not None:
                _remember(state, block, mark, origin)
            if mark >= last:
                break


def _follows(consumer: Consumer, partition: int, at: int, end: int) -> tuple[int, int] | None:
    """What the last of a partition's first blocks says, as a move that was cut short begins anew."""
    found = None
    while at < end and (follows := _header(consumer, partition, at).follows) is not None:
        found, at = follows, at + 1
    return found


def _decided(
    consumer: Consumer, state: PartitionState, partition: int, at: int, end: int
) -> Iterator[tuple[Block | None, int]]:
    """The blocks of a partition from `at` to `end`, trimmed, each with the mark after it."""
    mark: int | None = None
    for message in read_range(consumer, topics.PRICED, partition, at, end):
        header = Header.from_kafka(message.headers())  # type: ignore[arg-type]
        if header.log_id != state.log_id:
            raise Halt(
                f"spend.priced partition {partition} holds blocks of another spend.usage log ({header.log_id}): "
                "the topic was made anew; make spend.priced anew as well"
            )
        block, mark = blocks.trim(Block(header, message.value() or b""), mark)
        yield block, mark


def _remember(state: PartitionState, block: Block, mark: int, origin: int) -> None:
    columns = blocks.read(block.value, ["source", "id", "source_offset"])
    state.index.load(
        fingerprints(columns.column("source").cast(pa.string()), columns.column("id")),
        np.asarray(columns.column("source_offset")) + origin,
        through=mark + origin,
    )


def _first_needed(consumer: Consumer, partition: int, start: int, end: int, source_offset: int) -> int:
    """Offset of a block that begins at or below `source_offset`, by bisection over the headers."""
    if source_offset < 0:  # the whole log is needed
        return start
    low, high = start, end - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _header(consumer, partition, middle).first <= source_offset:
            low = middle
        else:
            high = middle - 1
    while low > start and _header(consumer, partition, low - 1).last >= source_offset:
        low -= 1  # a paused worker's block stands behind those that it repeats, and behind later ones
    return low


def _header(consumer: Consumer, partition: int, offset: int) -> Header:
    message = next(iter(read_range(consumer, topics.PRICED, partition, offset, offset + 1)))
    return Header.from_kafka(message.headers())  # type: ignore[arg-type]


def _refuse_gap(state: PartitionState, usage_start: int, usage_end: int, accept_gap: bool) -> None:
    if state.mark + 1 > usage_end:
        raise Halt(
            f"spend.usage partition {state.partition} ends at {usage_end}, but offsets up to {state.mark} were priced: "
            "the log lost its end (unclean leader election, or a restored broker)"
        )
    if state.mark + 1 < usage_start:
        gap = f"spend.usage partition {state.partition}: offsets {state.mark + 1} to {usage_start - 1} expired unpriced"
        if not accept_gap:
            raise Halt(f"{gap}. To go on without them: `spendstream worker --accept-gap`")
        log.warning("%s, and the gap was accepted", gap)
