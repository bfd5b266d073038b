"""Kafka's record batches as columns, without an object for each record.

A record of Kafka's format 2 is written as Avro writes one: numbers as zigzag varints, keys and values as a length and
bytes. So a batch's records are an Avro array, and pyruhvro reads them 25 times as fast as aiokafka makes objects of
them (docs/performance.md). What Kafka writes otherwise, a header or a key or value that is missing, is noticed: such a
batch, and one of few records or of the formats before 2, is read by aiokafka, record by record.

aiokafka keeps its say in all else: it checks the batch, leaves out control batches and aborted transactions, and moves
the position. `Fetched` stands in for its `MemoryRecords`, and a batch gives one `Chunk` where it gave records.
"""

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyruhvro
from aiokafka import codec
from aiokafka.record.memory_records import MemoryRecords

from schemas.wire import varint
from streams.spend.records import Records, binary_bounds

_FURTHEST = (2**63 - 1) // 1000
_FEW = 8  # records; a call of pyruhvro costs as much as aiokafka takes for so many
_HEADER_BYTES = 61  # of a batch of format 2, https://kafka.apache.org/documentation/#recordbatch
_UNCOMPRESSED: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
_LENGTH, _ATTRIBUTES, _TIMESTAMP, _OFFSET, _KEY, _VALUE, _HEADERS = range(7)
_FIELDS = {"length": "long", "attributes": "long", "timestamp": "long", "offset": "long"}
_FIELDS |= {"key": "string", "value": "string", "headers": "long"}
_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Batch",
        "fields": [
            {
                "name": "records",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Record",
                        "fields": [{"name": name, "type": kind} for name, kind in _FIELDS.items()],
                    },
                },
            }
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The records of a batch, at least one; to aiokafka a record with the batch's last offset.

    Columns, or aiokafka's records where those were read one by one.
    """

    offset: int
    records: Records | list[Any]


def joined(chunks: Iterable[Chunk]) -> Iterator[Records]:
    """The chunks' columns, in order; those read one by one are made columns together, however small each is."""
    for one_by_one, some in groupby((chunk.records for chunk in chunks), lambda records: isinstance(records, list)):
        if one_by_one:
            yield _as_columns(list(chain.from_iterable(cast(Iterable[list[Any]], some))))
        else:
            yield from cast(Iterable[Records], some)


class Fetched:
    """What a broker answered for one partition: aiokafka's batches, or, with `as_columns`, such as give a `Chunk`."""

    def __init__(self, data: bytes | None) -> None:
        self._batches = MemoryRecords(data or b"")
        self._data = memoryview(data or b"")
        self._at = 0
        self.as_columns = False

    def size_in_bytes(self) -> int:
        """Bytes of all batches."""
        return self._batches.size_in_bytes()

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return self._batches.has_next()

    def next_batch(self) -> Any:
        """The next batch."""
        batch = self._batches.next_batch()
        start, self._at = self._at, self._at + 12 + struct.unpack_from(">i", self._data, self._at + 8)[0]
        return _Columns(batch, self._data[start : self._at]) if self.as_columns else batch


class _Columns:
    """A batch of aiokafka's that gives one `Chunk`, in all else itself."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # a control batch is read as it is
        return next(self._batch)

    def __iter__(self) -> Iterator[Chunk]:
        columns = self._read()
        if columns is not None:
            yield Chunk(int(columns.offsets[-1]), columns)
        elif records := list(self._batch):
            yield Chunk(records[-1].offset, records)

    def _read(self) -> Records | None:
        """All records in one call; None where that does not give what aiokafka would."""
        if self._data[16] != 2:
            return None
        count = struct.unpack_from(">i", self._data, _HEADER_BYTES - 4)[0]
        decompress = _UNCOMPRESSED.get(self._batch.compression_type)
        if count < _FEW or decompress is None:
            return None
        payload = decompress(self._data[_HEADER_BYTES:].tobytes())
        try:
            rows = pyruhvro.deserialize_array([b"".join((varint(count), payload, b"\0"))], _SCHEMA).column(0).values
        except BaseException as exc:
            # a fault inside pyruhvro is a PanicException, which is no Exception
            if isinstance(exc, Exception) or type(exc).__name__ == "PanicException":
                return None
            raise
        if len(rows) != count or not _as_kafka_reads(rows, len(payload)):
            return None
        if self._batch.timestamp_type == 1:  # when the broker appended them
            times = np.full(count, self._batch.max_timestamp, np.int64)
        else:
            times = self._batch.first_timestamp + rows.field(_TIMESTAMP).to_numpy()
        offsets = self._batch.base_offset + rows.field(_OFFSET).to_numpy()
        keys, values = (rows.field(place).view(pa.binary()) for place in (_KEY, _VALUE))
        return Records(keys, values, offsets, _micros(times))


def _as_columns(found: list[Any]) -> Records:
    times = np.fromiter((record.timestamp for record in found), np.int64, len(found))
    return Records.of(
        [record.key for record in found],
        [record.value for record in found],
        [record.offset for record in found],
        _micros(times),
    )


def _micros(milliseconds: np.ndarray) -> np.ndarray:
    """The furthest that 64 bits can say, where a producer's time is beyond it."""
    return np.clip(milliseconds, -_FURTHEST, _FURTHEST) * 1000


def _as_kafka_reads(rows: pa.StructArray, size: int) -> bool:
    """Whether records without headers are all that the bytes hold, each as long as it says."""
    lengths, times, offsets = (rows.field(place).to_numpy() for place in (_LENGTH, _TIMESTAMP, _OFFSET))
    key, value = (np.diff(binary_bounds(rows.field(place))) for place in (_KEY, _VALUE))
    found = 1 + _varint_bytes(times) + _varint_bytes(offsets) + _varint_bytes(key) + key + _varint_bytes(value) + value
    plain = not any(rows.field(place).to_numpy().any() for place in (_ATTRIBUTES, _HEADERS))
    return plain and bool((found + 1 == lengths).all()) and int((_varint_bytes(lengths) + lengths).sum()) == size


def _varint_bytes(numbers: np.ndarray) -> np.ndarray:
    """Bytes that each number takes as a zigzag varint."""
    wide = numbers.astype(np.int64)
    zigzag = ((wide << 1) ^ (wide >> 63)).view(np.uint64)
    size = np.ones(len(wide), np.int64)
    for bits in range(7, 64, 7):
        more = zigzag >> np.uint64(bits)
        if not more.any():
            break
        size += more > 0
    return size
