"""128-bit fingerprints of (source, id), a column at a time.

MurmurHash3_x64_128 (Austin Appleby, public domain: https://github.com/aappleby/smhasher, `MurmurHash3.cpp`) with seed 0
over the bytes `source FF id`. FF never occurs in UTF-8, so ("a", "bc") and ("ab", "c") are different bytes. A key of
more than 512 bytes takes BLAKE2b with a 16-byte digest instead, one by one, so that a giant id costs no vector rounds.
The result depends on nothing but the bytes: not on a library's version, the machine, or the batch around it.
"""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SEPARATOR = b"\xff"
_LONGEST = 512
_SLICE = 65_536  # rows hashed together: the temporaries stay in the processor's cache
_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=np.uint64)


def fingerprints(source: pa.Array, ids: pa.Array) -> np.ndarray:
    """Fingerprint each (source, id).

    Args:
        source: strings, no nulls, n of them.
        ids: strings, no nulls, as many.

    Returns:
        uint64 of shape (n, 2): the low and the high half.

    Raises:
        ValueError: there is a null, or the columns differ in length.
    """
    if len(source) != len(ids):
        raise ValueError(f"{len(source)} sources for {len(ids)} ids")
    if source.null_count or ids.null_count:
        raise ValueError("source and id are never null")
    out = np.empty((len(ids), 2), dtype=np.uint64)
    for start in range(0, len(ids), _SLICE):
        out[start : start + _SLICE] = _hash(source.slice(start, _SLICE), ids.slice(start, _SLICE))
    return out


def _hash(source: pa.Array, ids: pa.Array) -> np.ndarray:
    binary = pa.large_binary()
    keys = pc.binary_join_element_wise(source.cast(binary), ids.cast(binary), pa.scalar(_SEPARATOR, binary))
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    _, offset_buffer, data_buffer = keys.buffers()
    bounds = np.frombuffer(offset_buffer, dtype="<i8", count=len(keys) + 1, offset=8 * keys.offset)
    size = int(bounds[-1])
    data = np.zeros(size + 16, dtype=np.uint8)  # 16 more: the last row's words may be read beyond its end
    data[:size] = np.frombuffer(data_buffer, dtype=np.uint8, count=size)
    starts, lengths = bounds[:-1], np.diff(bounds)
    out = murmur3_x64_128(data, starts, np.where(lengths > _LONGEST, 0, lengths))
    for row in np.flatnonzero(lengths > _LONGEST):
        digest = hashlib.blake2b(data[bounds[row] : bounds[row + 1]].tobytes(), digest_size=16).digest()
        out[row] = np.frombuffer(digest, dtype="<u8")
    return out


def murmur3_x64_128(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """MurmurHash3_x64_128, seed 0, of many byte strings that lie in one buffer.

    Args:
        data: uint8, the buffer; at least 16 bytes longer than the last string's end.
        starts: int64 of shape (n,), where each string begins.
        lengths: int64 of shape (n,), bytes of each.

    Returns:
        uint64 of shape (n, 2).
    """
    words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))  # the 8 bytes from every position
    blocks = lengths >> 4
    h1, h2 = np.zeros(len(starts), dtype=np.uint64), np.zeros(len(starts), dtype=np.uint64)
    everywhere, most = (int(blocks.min()), int(blocks.max())) if len(blocks) else (0, 0)
    for block in range(most):
        rows: slice | np.ndarray = slice(None) if block < everywhere else np.flatnonzero(blocks > block)
        at = starts[rows] + 16 * block
        a, b = h1[rows] ^ _mix1(words[at]), h2[rows]
        a = (_rotl(a, 27) + b) * np.uint64(5) + np.uint64(0x52DCE729)
        b = (_rotl(b ^ _mix2(words[at + 8]), 31) + a) * np.uint64(5) + np.uint64(0x38495AB5)
        h1[rows], h2[rows] = a, b
    at, left = starts + 16 * blocks, lengths & 15
    h1 ^= _mix1(words[at] & _MASKS[np.minimum(left, 8)])
    h2 ^= _mix2(words[at + 8] & _MASKS[np.maximum(left, 8) - 8])
    h1 ^= lengths.astype(np.uint64)
    h2 ^= lengths.astype(np.uint64)
    h1 += h2
    h2 += h1
    h1, h2 = _finish(h1), _finish(h2)
    h1 += h2
    h2 += h1
    return np.column_stack((h1, h2))


def _rotl(x: np.ndarray, bits: int) -> np.ndarray:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def _mix1(k: np.ndarray) -> np.ndarray:
    return _rotl(k * _C1, 31) * _C2


def _mix2(k: np.ndarray) -> np.ndarray:
    return _rotl(k * _C2, 33) * _C1


def _finish(h: np.ndarray) -> np.ndarray:
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))
