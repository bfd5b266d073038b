"""Which partition a key belongs to: Kafka's default partitioner, a column of keys at a time.

murmur2 as Java clients compute it (org.apache.kafka.common.utils.Utils.murmur2) and librdkafka's `murmur2_random`.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streams.spend.records import binary_bounds, binary_data

_M = np.uint32(0x5BD1E995)
_SEED = np.uint32(0x9747B28C)
_TAIL_MASKS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], dtype=np.uint32)


def partitions_of(keys: pa.BinaryArray | Sequence[bytes], partitions: int) -> np.ndarray:
    """The partition of each key, int64 of shape (n,), among `partitions`; no key is null."""
    column = keys if isinstance(keys, pa.Array) else pa.array(keys, pa.binary())
    bounds = binary_bounds(column).astype(np.int64)
    before, bounds = int(bounds[0]), bounds - bounds[0]
    data = np.zeros(int(bounds[-1]) + 8, dtype=np.uint8)  # 8 more: the last key's word may be read beyond its end
    data[: int(bounds[-1])] = binary_data(column)[before : before + int(bounds[-1])]
    words = np.ndarray((len(data) - 3,), dtype="<u4", buffer=data, strides=(1,))  # the 4 bytes from every position
    starts, lengths = bounds[:-1], np.diff(bounds)
    hashed = _SEED ^ lengths.astype(np.uint32)
    whole = lengths >> 2
    for word in range(int(whole.max(initial=0))):
        rows = np.flatnonzero(whole > word)
        k = words[starts[rows] + 4 * word] * _M
        k = (k ^ (k >> np.uint32(24))) * _M
        hashed[rows] = (hashed[rows] * _M) ^ k
    left = lengths & 3
    tail = words[starts + 4 * whole] & _TAIL_MASKS[left]
    hashed = np.where(left > 0, (hashed ^ tail) * _M, hashed)
    hashed = (hashed ^ (hashed >> np.uint32(13))) * _M
    hashed ^= hashed >> np.uint32(15)
    return (hashed & np.uint32(0x7FFFFFFF)).astype(np.int64) % partitions


def misrouted(keys: pa.BinaryArray, partition: int, partitions: int) -> int:
    """How many of a partition's keys belong elsewhere, or are missing: repeats of them may go unrecognised."""
    return len(keys) - int((partitions_of(keys.drop_null(), partitions) == partition).sum())
