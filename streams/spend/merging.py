"""What a partition of spend.totals has come to: windows, watermark, closed windows judged. Pure.

Messages are applied in the order of their log. One is a repeat, and changes nothing, when its block is at or below the
last block applied of its source partition; so a log that is read again from any earlier place gives the same sums.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from streams.spend.anomaly import Finding
from streams.spend.closing import Closing, spent
from streams.spend.watch import Watch
from streams.spend.windows import KEY, LEVELS, WINDOW, Place, Windows

CLOSING = "closing"
"""What the place of a closing begins with, before its seconds."""

_NONE = WINDOW.to_frame()
Found = tuple[str, str, Finding]
"""(dimension, member, what changed about its incident)."""


@dataclass(frozen=True)
class Source:
    """What is known of a partition of spend.usage. Counts are from its start, `event_time_max` is in microseconds."""

    block: int = -1
    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    event_time_max: int = 0
    idle: bool = False


@dataclass(frozen=True)
class Message:
    """A message of spend.totals: its offset, its source partition, what that has come to, and its deltas."""

    offset: int
    partition: int
    source: Source
    deltas: pl.DataFrame


@dataclass(frozen=True)
class Merged:
    """What messages changed: windows by level (whole), incidents, and the watermark after them, in seconds."""

    touched: Mapping[str, pl.DataFrame]
    found: tuple[Found, ...]
    watermark: int


@dataclass
class Merging:
    """The state of one partition. `closings`, the narrowest first, go with `watches`.

    `ahead` names chunks (level, number), and closings (CLOSING, seconds), that were saved with more blocks in them than
    the rest, because their saver died half-way: by source partition, the last block in them.
    """

    windows: Windows
    closings: tuple[Closing, ...]
    watches: tuple[Watch, ...]
    partitions: int  # of spend.usage
    watched: tuple[str, ...]  # dimensions
    sources: dict[int, Source] = field(default_factory=dict)
    watermark: int = 0
    position: int = 0  # offset of the next message
    ahead: dict[Place, Mapping[int, int]] = field(default_factory=dict)

    def apply(self, messages: Iterable[Message], until: int | None = None) -> Merged:
        """Apply messages, each beyond the last: all, or those up to the one that takes the watermark to `until`."""
        rows: dict[frozenset[Place], list[tuple[pl.DataFrame, int]]] = {}
        found: list[Found] = []
        for message in messages:
            self.position = message.offset + 1
            if not self._take(message):
                continue
            if message.deltas.height:
                held = self._held(message)
                rows.setdefault(held, []).append((message.deltas, self.watermark))
                width = self.closings[0].seconds
                rows_spent = spent(message.deltas, width, self.watched)
                for closing in self.closings:
                    if (CLOSING, closing.seconds) not in held:
                        closing.add(rows_spent, width)
            self.watermark = max(self.watermark, self._lowest())
            for closing, watch in zip(self.closings, self.watches, strict=True):
                if closing.is_due(self.watermark):
                    found += watch.judge(closing.close(self.watermark))
                    found += watch.calm(self.watermark)
            if until is not None and self.watermark >= until:
                break
        changed = [self.windows.merge(frames, self.position - 1, self.watermark, held) for held, frames in rows.items()]
        self.windows.expire(self.watermark)
        touched = {
            level: pl.concat([windows[level] for windows in changed]).unique(KEY, keep="last") if changed else _NONE
            for level in LEVELS
        }
        return Merged(touched, tuple(found), self.watermark)

    def blocks_of(self, place: Place) -> dict[int, int]:
        """The last block of each source partition that is in a chunk or closing."""
        applied = {partition: source.block for partition, source in self.sources.items()}
        for partition, block in self.ahead.get(place, {}).items():  # of a partition not heard of yet, too
            applied[partition] = max(block, applied.get(partition, -1))
        return applied

    def _take(self, message: Message) -> bool:
        """Whether there is news in it."""
        known = self.sources.get(message.partition)
        if known is None or (message.source.block > known.block and not message.source.idle):
            self.sources[message.partition] = message.source
            return True
        if message.source.block < known.block or not message.source.idle:  # a repeat, or word of long ago
            return False
        self.sources[message.partition] = replace(known, idle=True)
        return True

    def _lowest(self) -> int:
        """The watermark: up to where every partition that is not at its end has come, seconds since 1970."""
        if len(self.sources) < self.partitions:
            return 0
        moving = [source.event_time_max for source in self.sources.values() if not source.idle]
        latest = [source.event_time_max for source in self.sources.values()]
        return (min(moving) if moving else max(latest)) // 1_000_000

    def _held(self, message: Message) -> frozenset[Place]:
        """Chunks and closings that hold the message's deltas already."""
        block, partition = message.source.block, message.partition
        return frozenset(place for place, blocks in self.ahead.items() if block <= blocks.get(partition, -1))
