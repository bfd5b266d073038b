"""Amounts of 128 bits as two columns of 64: numpy adds those in place, and nothing wraps. Pure.

An amount, picodollars, is high * 2**32 + low. Normal halves have 0 <= low < 2**32; sums of up to 2**31 of them are
exact, and `carry` makes them normal again.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.priced import MONEY

_LOW = np.int64(2**32 - 1)


def words(amounts: pa.Array) -> np.ndarray:
    """The little-endian 64-bit words of decimals without nulls: int64 (n, 2), a view."""
    return np.frombuffer(amounts.buffers()[1], np.int64).reshape(-1, 2)[amounts.offset : amounts.offset + len(amounts)]


def halves(word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """High and low half of amounts under 2**95, of their words (n, 2)."""
    first, second = word[:, 0], word[:, 1]
    return (first >> 32) & _LOW | second << 32, first & _LOW


def carry(high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same amounts with normal halves."""
    return high + (low >> 32), low & _LOW


def amounts(high: np.ndarray, low: np.ndarray) -> pl.Series:
    """Normal halves as decimals of dollars."""
    word = np.empty((len(high), 2), np.int64)
    word[:, 0] = high << 32 | low
    word[:, 1] = high >> 32
    return pl.Series(pa.Array.from_buffers(MONEY, len(word), [None, pa.py_buffer(word)]))
