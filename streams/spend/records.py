"""Records of one partition as columns: what the price agent decides on. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Records:
    """Records of one partition, in offset order.

    Attributes:
        keys: binary, n of them, null where a record has none.
        values: binary, as many, null for a tombstone.
        offsets: int64 of shape (n,).
        times_us: int64 of shape (n,): Kafka timestamps, microseconds since 1970.
    """

    keys: pa.BinaryArray
    values: pa.BinaryArray
    offsets: np.ndarray
    times_us: np.ndarray

    @classmethod
    def of(
        cls,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        offsets: Iterable[int] | np.ndarray,
        times_us: Iterable[int] | np.ndarray,
    ) -> "Records":
        """From Python's own values, one of each a record."""
        count = len(values)
        numbers = (np.fromiter(column, np.int64, count) for column in (offsets, times_us))
        return cls(pa.array(keys, pa.binary()), pa.array(values, pa.binary()), *numbers)

    @classmethod
    def joined(cls, parts: Sequence["Records"]) -> "Records":
        """One after the other, at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            pa.concat_arrays([part.keys for part in parts]),
            pa.concat_arrays([part.values for part in parts]),
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.times_us for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: slice) -> "Records":
        """Some that follow each other, without a copy."""
        start, stop, _ = rows.indices(len(self))
        keys, values = (column.slice(start, stop - start) for column in (self.keys, self.values))
        return Records(keys, values, self.offsets[start:stop], self.times_us[start:stop])

    def beyond(self, offset: int) -> "Records":
        """Those with greater offsets."""
        first = int(np.searchsorted(self.offsets, offset, side="right"))
        return self if first == 0 else self[first:]

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        bounds = binary_bounds(self.values)
        return int(bounds[-1] - bounds[0])


def binary_bounds(column: pa.BinaryArray | pa.StringArray) -> np.ndarray:
    """Where each value begins in the column's data, and where the last ends: int32 of shape (n + 1,)."""
    if len(column) == 0:
        return np.zeros(1, np.int32)
    return np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]


def binary_data(column: pa.BinaryArray | pa.StringArray) -> np.ndarray:
    """The bytes that `binary_bounds` counts in, uint8."""
    data = column.buffers()[2]
    return np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
