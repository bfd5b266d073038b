"""A message of spend.totals: what one priced block adds to the members of one partition, and what it tells of its log.

The value is an Arrow IPC stream of deltas (`streams.spend.totals.SCHEMA`), empty where the block adds nothing there:
every partition hears of every block, so that its watermark moves. The headers, all text:

    format            1
    log_id            id of spend.usage; block_log_id: of spend.priced
    source_partition  the block's; partitions: how many spend.usage has
    block             the block's offset in spend.priced: at or below the last one applied, the message is a repeat
    events, duplicates, dead_letters    of this partition up to and with the block
    event_time_max    latest event time up to and with the block, microseconds since 1970
    idle              1: no block, but word that the partition has been read to its end and holds no watermark back
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import polars as pl
import pyarrow as pa

from schemas.priced import TEXT
from streams import blocks
from streams.errors import Halt
from streams.spend.merging import Message, Source
from streams.spend.totals import SCHEMA

FORMAT = 1


@dataclass(frozen=True)
class Header:
    """Counts and times are of the source partition from its start up to the block."""

    log_id: str
    block_log_id: str
    source_partition: int
    partitions: int
    block: int = -1
    events: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    event_time_max: int = 0
    idle: int = 0

    def to_kafka(self) -> list[tuple[str, bytes]]:
        """As Kafka headers."""
        texts = {"format": FORMAT} | {field.name: getattr(self, field.name) for field in fields(self)}
        return [(name, str(value).encode()) for name, value in texts.items()]

    @classmethod
    def from_kafka(cls, headers: Iterable[tuple[str, bytes]] | None) -> "Header":
        """Read a message's headers.

        Raises:
            Halt: they are of a format this release does not know.
        """
        texts = {name: value.decode() for name, value in headers or ()}
        if texts.pop("format", None) != str(FORMAT):
            raise Halt("spend.totals holds a message of another format: upgrade spendstream, or find out who writes it")
        return cls(**{name: text if name.endswith("log_id") else int(text) for name, text in texts.items()})  # type: ignore[arg-type]


def message(offset: int, headers: Iterable[tuple[str, bytes]] | None, value: bytes | None) -> tuple[Header, Message]:
    """A record of spend.totals: its headers, and what is applied of it.

    Raises:
        Halt: its headers are of a format this release does not know.
    """
    header = Header.from_kafka(headers)
    source = Source(
        block=header.block,
        events=header.events,
        duplicates=header.duplicates,
        dead_letters=header.dead_letters,
        event_time_max=header.event_time_max,
        idle=bool(header.idle),
    )
    return header, Message(offset, header.source_partition, source, read(value or b""))


def write(deltas: pl.DataFrame) -> bytes:
    """Deltas as an Arrow IPC stream; no bytes when there are none."""
    return blocks.write(to_batch(deltas)) if deltas.height else b""


def read(value: bytes) -> pl.DataFrame:
    """The deltas of a message, schema `SCHEMA`."""
    return from_batch(blocks.read(value), SCHEMA) if value else SCHEMA.to_frame()


def to_batch(frame: pl.DataFrame) -> pa.RecordBatch:
    """A frame as one record batch, its texts as dictionaries."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    names, columns = table.schema.names, []
    for column in table.columns:
        chunk = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        columns.append(chunk.cast(pa.string()).dictionary_encode() if pa.types.is_large_string(chunk.type) else chunk)
    return pa.RecordBatch.from_arrays(columns, names)


def from_batch(batch: pa.RecordBatch, schema: pl.Schema) -> pl.DataFrame:
    """A record batch of `to_batch` as a frame of that schema."""
    plain = [c.cast(pa.string()) if c.type == TEXT else c for c in batch.columns]
    return pl.DataFrame(pa.RecordBatch.from_arrays(plain, batch.schema.names)).select(schema.names()).cast(schema)
