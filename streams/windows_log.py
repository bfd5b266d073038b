"""What a windows worker takes over with a partition of spend.totals, and how it is saved: spend.state, compacted.

A partition's state is saved in parts, each a record: chunks of windows, the detectors' states, the windows that are
still open, and last the summary, which holds the position in spend.totals to go on at. A part says which blocks are in
it, so one that is newer than the summary, because its saver died half-way, is known as such and takes no block twice.

Keys are `windows/<epoch>/<part>`, and of each part the highest epoch counts. Whoever takes a partition over claims it
with a record, whose offset is the epoch: no two owners share one. Then he reads, and before anything else he writes the
summary that he found under his epoch. So a worker that was paused and wakes up can write, but its summary is never read
again, and a part of its is at most ahead of the summary that counts.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer

from streams import blocks, topics
from streams.errors import Halt
from streams.kafka import read_range, watermarks
from streams.publishing import OrderedProducer
from streams.spend import anomaly
from streams.spend.closing import SPENT
from streams.spend.merging import CLOSING, Merging, Source
from streams.spend.watch import Watch
from streams.spend.windows import LEVELS, WINDOW
from streams.totals import from_batch, to_batch

log = logging.getLogger("spendstream.windows")

FORMAT = 1
_UNDER_WAY_BYTES = 16 << 20  # sent and not acknowledged yet
_SUMMARY = "summary"


@dataclass
class WindowsLog:
    """The saved state of one partition. `kept` says under which epoch each part stands."""

    partition: int
    epoch: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    saved_watched: dict[int, int] = field(default_factory=dict)  # of a detector, the window through which it was saved

    def claim(self, producer: OrderedProducer) -> None:
        """Make the partition one's own; to be called before `load`."""
        offset = producer.send(topics.STATE, b"1", key=b"claim", partition=self.partition)
        producer.flush()
        [self.epoch] = offset

    def load(self, consumer: Consumer, merging: Merging, ids: tuple[str, str, str]) -> dict[str, Any] | None:
        """Fill `merging` with what was saved.

        Args:
            consumer: with nothing assigned.
            merging: the empty state of the partition.
            ids: the ids of spend.usage, spend.priced and spend.totals; what was saved of other logs does not count.

        Returns:
            The summary; None when nothing was saved of these logs.
        """
        parts = self._read(consumer)
        found = parts.pop(_SUMMARY, None)
        summary = json.loads(found[1]) if found is not None else None
        if summary is None or tuple(summary["ids"]) != ids:
            return None
        if summary["format"] != FORMAT:
            raise Halt(f"spend.state holds windows of format {summary['format']}, this release reads {FORMAT}: upgrade")
        merging.position, merging.watermark = summary["position"], summary["watermark"]
        merging.sources = {int(p): Source(**source) for p, source in summary["sources"].items()}
        for name, (applied, value) in parts.items():
            if json.loads(applied)["ids"] == summary["ids"]:
                self._put_back(merging, name, {int(p): b for p, b in json.loads(applied)["blocks"].items()}, value)
        return summary

    def save(
        self, producer: OrderedProducer, merging: Merging, ids: tuple[str, str, str], more: dict[str, Any]
    ) -> None:
        """Write what has changed since the last time, the summary last; `more` is kept in it."""
        under_way = 0
        for name, applied, value in _changed(merging, self.saved_watched):
            self._send(producer, name, value, {"ids": ids, "blocks": applied})
            under_way += len(value)
            if under_way > _UNDER_WAY_BYTES:
                producer.flush()
                under_way = 0
        self._send_open(producer, merging, ids)
        producer.flush()
        self._send_summary(producer, merging, ids, more)
        producer.flush()
        for level in LEVELS:
            for at in merging.windows.expired[level]:
                if (part := f"{level}/{at}") in self.kept:
                    self._forget(producer, part, self.kept.pop(part))
            merging.windows.expired[level].clear()
            for chunk in merging.windows.chunks[level].values():
                chunk.dirty = False

    def save_summary(
        self, producer: OrderedProducer, merging: Merging, ids: tuple[str, str, str], more: dict[str, Any]
    ) -> None:
        """Write under this epoch what `load` found and nobody else may change: where to go on, and what is still open.

        Detectors that are saved later would otherwise lack the windows that a paused owner, further on, has closed. The
        summary is first: with its position, open windows of another epoch are at most ahead of it.
        """
        self._send_summary(producer, merging, ids, more)
        self._send_open(producer, merging, ids)
        producer.flush()

    def _send_summary(
        self, producer: OrderedProducer, merging: Merging, ids: tuple[str, str, str], more: dict[str, Any]
    ) -> None:
        summary = {
            "format": FORMAT,
            "ids": ids,
            "position": merging.position,
            "watermark": merging.watermark,
            "sources": {p: asdict(source) for p, source in merging.sources.items()},
            **more,
        }
        self._send(producer, _SUMMARY, json.dumps(summary).encode(), {})

    def _send_open(self, producer: OrderedProducer, merging: Merging, ids: tuple[str, str, str]) -> None:
        for closing in merging.closings:
            batch = to_batch(closing.open).replace_schema_metadata({"through": str(closing.through)})
            header = {"ids": ids, "blocks": merging.blocks_of((CLOSING, closing.seconds))}
            self._send(producer, f"{CLOSING}/{closing.seconds}", blocks.write(batch), header)

    def _send(self, producer: OrderedProducer, part: str, value: bytes, header: dict[str, Any]) -> None:
        producer.send(
            topics.STATE,
            value,
            key=_key(self.epoch, part),
            partition=self.partition,
            headers=[("in", json.dumps(header).encode())],
        )
        older = self.kept.get(part)
        self.kept[part] = self.epoch
        if older is not None and older != self.epoch:
            self._forget(producer, part, older)

    def _forget(self, producer: OrderedProducer, part: str, epoch: int) -> None:
        producer.send(topics.STATE, None, key=_key(epoch, part), partition=self.partition)

    def _read(self, consumer: Consumer) -> dict[str, tuple[str, bytes]]:
        """Each part of the highest epoch: what is in it, and its bytes."""
        start, end = watermarks(consumer, topics.STATE, self.partition)
        found: dict[str, dict[int, tuple[str, bytes]]] = {}
        for message in read_range(consumer, topics.STATE, self.partition, start, end):
            kind, _, rest = (message.key() or b"").decode().partition("/")
            if kind != "windows":
                continue
            epoch, _, part = rest.partition("/")
            if not message.value():
                found.get(part, {}).pop(int(epoch), None)
                continue
            headers: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]
            found.setdefault(part, {})[int(epoch)] = (headers["in"].decode(), message.value() or b"")
        latest = {part: max(by_epoch) for part, by_epoch in found.items() if by_epoch}
        self.kept = latest
        return {part: found[part][epoch] for part, epoch in latest.items()}

    def _put_back(self, merging: Merging, name: str, applied: dict[int, int], value: bytes) -> None:
        kind, _, at = name.partition("/")
        batch = blocks.read(value)
        is_ahead = any(block > merging.sources.get(p, Source()).block for p, block in applied.items())
        if kind in LEVELS:
            merging.windows.put_back(kind, int(at), from_batch(batch, WINDOW))
            # a chunk that is ahead must not depend on whose it is: a paused owner may write it once more, from before
            merging.windows.chunks[kind][int(at)].dirty = is_ahead
        elif kind == CLOSING:
            closing = next(c for c in merging.closings if c.seconds == int(at))
            closing.open = from_batch(batch, SPENT)
            closing.through = int(batch.schema.metadata[b"through"])
        elif kind == "watch":
            watch = next(w for w in merging.watches if w.detector.window_seconds == int(at))
            members = zip(batch.column("dimension").to_pylist(), batch.column("member").to_pylist(), strict=True)
            watch.put_back(list(members), anomaly.load(batch.column("state").to_pylist()))
            watch.hour, watch.told = (int(batch.schema.metadata[name]) for name in (b"hour", b"told"))
        if is_ahead:
            merging.ahead[kind, int(at)] = applied


def _key(epoch: int, part: str) -> bytes:
    return f"windows/{epoch}/{part}".encode()


def _changed(merging: Merging, saved: dict[int, int]) -> Iterator[tuple[str, dict[int, int], bytes]]:
    """The chunks and detectors to save: name, blocks in them, bytes; what is open follows, with the summary."""
    for level in LEVELS:
        for at, chunk in merging.windows.chunks[level].items():
            if chunk.dirty:
                yield f"{level}/{at}", merging.blocks_of((level, at)), blocks.write(to_batch(chunk.frame))
    for closing, watch in zip(merging.closings, merging.watches, strict=True):
        if closing.through != saved.get(closing.seconds):
            saved[closing.seconds] = closing.through
            yield f"watch/{closing.seconds}", merging.blocks_of(("watch", closing.seconds)), _states(watch)


def _states(watch: Watch) -> bytes:
    columns = {
        "dimension": pa.array([dimension for dimension, _ in watch.members], pa.string()),
        "member": pa.array([member for _, member in watch.members], pa.string()),
        "state": pa.array(anomaly.dump(watch.states), pa.binary()),
    }
    told = {"hour": str(watch.hour), "told": str(watch.told)}
    return blocks.write(pa.RecordBatch.from_pydict(columns).replace_schema_metadata(told))
