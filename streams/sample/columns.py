"""Arrow columns of drawn values: entries of pools by index, null where the index is NULL."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streams.sample.counts import NULL


def hex_ids(rng: np.random.Generator, size: int, width: int) -> pa.Array:
    """`size` random identifiers of `width` bytes, in hex."""
    text = rng.bytes(size * width).hex().encode()
    offsets = np.arange(size + 1, dtype=np.int32) * (2 * width)
    return pa.StringArray.from_buffers(size, pa.py_buffer(offsets), pa.py_buffer(text))


def pick(rng: np.random.Generator, weights: list[float], size: int) -> np.ndarray:
    """Indices drawn with these weights."""
    upto = np.cumsum(weights)
    return np.minimum(np.searchsorted(upto, rng.random(size) * upto[-1], side="right"), len(weights) - 1)


def indices(index: np.ndarray) -> pa.Array:
    """The indices, to take from a pool with."""
    return pa.array(index, pa.int64(), mask=index == NULL)


def choose(pool: Sequence[str | None], index: np.ndarray) -> pa.Array:
    """The pool's entries at these indices, null at NULL."""
    return pa.array(pool, pa.string()).take(indices(index))


def choose_counts(pool: list[int], index: np.ndarray) -> pa.Array:
    """The pool's whole numbers at these indices, null at NULL."""
    return pa.array(pool, pa.int64()).take(indices(index))


def named(code: np.ndarray, prefix: str) -> pa.Array:
    """A name for each code, the same for the same code."""
    distinct, place = np.unique(code, return_inverse=True)
    return choose([None if n == NULL else f"{prefix}{n:x}" for n in distinct.tolist()], place)


def whole(values: np.ndarray) -> pa.Array:
    """The whole numbers, null at NULL."""
    return pa.array(values, pa.int64(), mask=values == NULL)


def instants(micros: np.ndarray) -> pa.Array:
    """Times from microseconds since 1970."""
    return pa.array(micros, pa.int64()).cast(pa.timestamp("us"))
