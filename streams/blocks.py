"""The block: what one stage hands the next. Write, read, trim; pure.

A priced block is an Arrow IPC stream (lz4) of one record batch with the schema `schemas.priced.priced_arrow()`. Its
Kafka headers say what it covers, so that a reader can know, trim or skip it without opening it:

    format            2; in format 1 no column was a dictionary, all else is the same, and both are read
    log_id            id of the source topic, spend.usage: the log whose offsets the rows bear
    block_log_id      id of the block's own topic, spend.priced
    source_partition  the partition of both
    first, last       source offsets that were decided, both included; what has no row was dropped or never there
    rows              accepted events
    duplicates        source offsets of dropped repeats, as ranges: 4,7-9
    dead_letter.<r>   source offsets of dead letters of reason <r>, as ranges
    misrouted         records whose key belongs to another partition
    price_version     version of the rate data
    event_time_max    latest event time among the rows, microseconds since 1970
    follows           only in a first block, without rows, of a partition that the log grew by (streams/grow_log.py):
                      partition:offset, all of whose keys came from there, and up to where
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.priced import MONEY, priced_arrow
from streams.errors import Halt

FORMAT = 2
_READ = ("1", "2")
_DEAD_LETTER = "dead_letter."
_IPC = pa.ipc.IpcWriteOptions(compression="lz4")


class Hole(Halt):
    """A block begins beyond the next offset: what lies between was never decided, or is gone."""


@dataclass(frozen=True)
class Header:
    """What a block covers. Offsets are of the source partition; offset lists are ascending int64 arrays."""

    log_id: str
    block_log_id: str
    source_partition: int
    first: int
    last: int
    rows: int
    price_version: str
    duplicates: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    dead_letters: Mapping[str, np.ndarray] = field(default_factory=dict)
    misrouted: int = 0
    event_time_max: int = 0
    follows: tuple[int, int] | None = None

    @property
    def dead_letter_count(self) -> int:
        """Dead letters of all reasons."""
        return sum(len(offsets) for offsets in self.dead_letters.values())

    def beyond(self, mark: int) -> "Header":
        """What it says about the offsets beyond `mark`; the row count is left as it is."""
        return replace(
            self,
            first=max(self.first, mark + 1),
            duplicates=self.duplicates[self.duplicates > mark],
            dead_letters={
                reason: left for reason, offsets in self.dead_letters.items() if len(left := offsets[offsets > mark])
            },
        )

    def to_kafka(self) -> list[tuple[str, bytes]]:
        """As Kafka headers, all text."""
        pairs = {
            "format": FORMAT,
            "log_id": self.log_id,
            "block_log_id": self.block_log_id,
            "source_partition": self.source_partition,
            "first": self.first,
            "last": self.last,
            "rows": self.rows,
            "duplicates": to_ranges(self.duplicates),
            "misrouted": self.misrouted,
            "price_version": self.price_version,
            "event_time_max": self.event_time_max,
            **{_DEAD_LETTER + reason: to_ranges(offsets) for reason, offsets in self.dead_letters.items()},
            **({} if self.follows is None else {"follows": "{}:{}".format(*self.follows)}),
        }
        return [(key, str(value).encode()) for key, value in pairs.items()]

    @classmethod
    def from_kafka(cls, headers: Iterable[tuple[str, bytes]] | None) -> "Header":
        """Read a block's headers.

        Raises:
            Halt: they are not a block's, or of a format this release does not know.
        """
        texts = {key: value.decode() for key, value in headers or ()}
        if texts.get("format") not in _READ:
            raise Halt(
                f"a block has format {texts.get('format')!r}, this release reads {' and '.join(_READ)}: "
                "upgrade spendstream, or find out who else writes to spend.priced"
            )
        return cls(
            log_id=texts["log_id"],
            block_log_id=texts["block_log_id"],
            source_partition=int(texts["source_partition"]),
            first=int(texts["first"]),
            last=int(texts["last"]),
            rows=int(texts["rows"]),
            price_version=texts["price_version"],
            duplicates=from_ranges(texts["duplicates"]),
            dead_letters={
                key.removeprefix(_DEAD_LETTER): from_ranges(text)
                for key, text in texts.items()
                if key.startswith(_DEAD_LETTER)
            },
            misrouted=int(texts["misrouted"]),
            event_time_max=int(texts["event_time_max"]),
            follows=_follows(texts["follows"]) if "follows" in texts else None,
        )


@dataclass(frozen=True)
class Block:
    """A header and the Arrow IPC bytes it speaks of."""

    header: Header
    value: bytes

    @cached_property
    def batch(self) -> pa.RecordBatch:
        """The rows, schema `priced_arrow()`."""
        return read(self.value)

    @property
    def months(self) -> int:
        """How many months (UTC) the rows' times touch: as many partitions of a table an insert of the block reaches."""
        if not self.header.rows:
            return 0
        times = np.asarray(read(self.value, ["time"]).column("time").cast(pa.int64())).view("datetime64[us]")
        months = times.astype("datetime64[M]")
        return len(np.unique(months)) if months.min() != months.max() else 1


def write(batch: pa.RecordBatch) -> bytes:
    """One record batch as an Arrow IPC stream with lz4 buffers."""
    sink = BytesIO()  # Arrow's own buffer would have to be copied to become bytes
    with pa.ipc.new_stream(sink, batch.schema, options=_IPC) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def read(value: bytes, columns: list[str] | None = None) -> pa.RecordBatch:
    """The one record batch of a block; with `columns`, only those are decompressed."""
    if columns is None:
        return pa.ipc.open_stream(value).read_next_batch()
    with pa.ipc.open_stream(value) as stream:
        included = sorted(stream.schema.get_field_index(name) for name in columns)
    options = pa.ipc.IpcReadOptions(included_fields=included)
    return pa.ipc.open_stream(value, options=options).read_next_batch().select(columns)


def money(picos: pa.Array) -> pa.Array:
    """int64 picodollars (nullable) as `decimal128(38, 12)` dollars: the unscaled integer stays what it is."""
    low = np.asarray(pc.fill_null(picos, 0)).astype(np.int64, copy=False)
    words = np.empty((len(low), 2), dtype=np.int64)
    words[:, 0] = low
    words[:, 1] = low >> 63
    valid = None if picos.null_count == 0 else pc.is_valid(picos).buffers()[1]
    return pa.Array.from_buffers(MONEY, len(low), [valid, pa.py_buffer(words)])


def assemble(events: pa.RecordBatch, added: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Append the pricing and coordinate columns to decoded events, as `priced_arrow()` has them."""
    schema = priced_arrow()
    columns = [*events.columns, *(added[name] for name in schema.names[len(events.schema) :])]
    return pa.RecordBatch.from_arrays([_as(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def encode_texts(events: pa.RecordBatch) -> pa.RecordBatch:
    """Decoded events with their texts of few values as dictionaries: what is done with the rows then costs less."""
    fields = [priced_arrow().field(index) for index in range(len(events.schema))]
    columns = [_as(column, field.type) for column, field in zip(events.columns, fields, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column.dictionary_encode() if pa.types.is_dictionary(kind) and column.type != kind else column


def constant(text: str, rows: int) -> pa.DictionaryArray:
    """A column that says the same in every row."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text], pa.string()))


def trim(block: Block, mark: int | None) -> tuple[Block | None, int]:
    """What of a block is new to a reader, and the reader's next mark.

    The mark is the greatest last source offset of the blocks before. Offsets at or below it were decided by an earlier
    block and are repeats here; the first decision on an offset stands.

    Args:
        block: the next block of the reader's partition.
        mark: None at the start of the log.

    Returns:
        The block without its repeats (the same object when there are none; None when nothing is left) and the mark
        after it.

    Raises:
        Hole: the block begins beyond mark + 1.
    """
    header = block.header
    if mark is None or header.first == mark + 1:
        return block, header.last
    if header.first > mark + 1:
        raise Hole(
            f"spend.priced partition {header.source_partition}: a block begins at source offset {header.first}, "
            f"but {mark + 1} is next: what lies between was never priced, or the block that holds it is gone"
        )
    if header.last <= mark:
        return None, mark
    batch = block.batch
    kept = batch.filter(pc.greater(batch.column("source_offset"), mark))
    trimmed = replace(header.beyond(mark), rows=kept.num_rows)
    return Block(trimmed, write(kept)), header.last


def _follows(text: str) -> tuple[int, int]:
    partition, _, last = text.partition(":")
    return int(partition), int(last)


def to_ranges(offsets: np.ndarray) -> str:
    """Ascending offsets as text: [4, 7, 8, 9] is 4,7-9."""
    if len(offsets) == 0:
        return ""
    breaks = np.flatnonzero(np.diff(offsets) != 1)
    starts = offsets[np.concatenate(([0], breaks + 1))]
    ends = offsets[np.concatenate((breaks, [len(offsets) - 1]))]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts.tolist(), ends.tolist(), strict=True))


def from_ranges(text: str) -> np.ndarray:
    """The offsets of `to_ranges`' text."""
    spans = [part.partition("-") for part in text.split(",") if part]
    if not spans:
        return np.empty(0, np.int64)
    return np.concatenate([np.arange(int(a), int(b or a) + 1, dtype=np.int64) for a, _, b in spans])
