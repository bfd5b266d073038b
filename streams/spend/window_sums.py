"""The sums of many windows, columns of whole numbers to which is added in place. Pure.

Adding costs what is added, not what is there. A window is known by a key; money is kept as `halves`.
"""

import numpy as np
import polars as pl

from schemas.priced import COSTS
from streams.spend.dimensions import COUNTS
from streams.spend.halves import amounts, carry, halves, words

_MONEY = len(COUNTS)  # rows from here on: the high halves of COSTS, then the low ones
_HIGH, _LOW = slice(_MONEY, _MONEY + len(COSTS)), slice(_MONEY + len(COSTS), _MONEY + 2 * len(COSTS))
WIDTH = _LOW.stop
"""Rows of an array of measures: int64 (WIDTH, n)."""

_GROWTH = 1.5
_LEAST = 64


def measures_of(frame: pl.DataFrame) -> np.ndarray:
    """The measures of a frame's rows, int64 (WIDTH, n)."""
    found = np.empty((WIDTH, frame.height), np.int64)
    for at, name in enumerate(COUNTS):
        found[at] = frame[name].to_numpy()
    for at, name in enumerate(COSTS):
        if frame.height:
            found[_HIGH][at], found[_LOW][at] = halves(words(frame[name].to_arrow()))
    return found


def columns_of(measures: np.ndarray) -> dict[str, np.ndarray | pl.Series]:
    """Measures with normal halves as columns by name, ready for a frame."""
    counts: dict[str, np.ndarray | pl.Series] = {name: measures[at] for at, name in enumerate(COUNTS)}
    return counts | {name: amounts(measures[_HIGH][at], measures[_LOW][at]) for at, name in enumerate(COSTS)}


def summed(keys: np.ndarray, measures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the same key as one: keys, ascending and each once, and measures (halves not normal)."""
    if not len(keys):
        return keys, measures
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sums = np.zeros((WIDTH, len(starts)), np.int64)
    for at in np.flatnonzero(measures.any(axis=1)):
        mine = measures[at].take(order)
        sums[at] = mine if len(starts) == len(order) else np.add.reduceat(mine, starts)
    return ordered[starts], sums


class WindowSums:
    """Windows by key (int64), each with its measures and its version."""

    def __init__(self) -> None:
        self._keys = np.empty(0, np.int64)  # ascending
        self._columns = np.empty(0, np.int64)  # of each key
        self._values = np.empty((WIDTH + 1, 0), np.int64)  # the last row: versions

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: np.ndarray, measures: np.ndarray, version: int, after: np.ndarray) -> None:
        """Add to windows, which come about when they are not there; `keys` ascend, each once.

        Args:
            after: int64 (WIDTH + 1, n), takes their measures and versions as they are then.
        """
        columns = self._find(keys)
        np.take(self._values, columns, axis=1, out=after, mode="clip")
        after[:WIDTH] += measures
        after[_HIGH], after[_LOW] = carry(after[_HIGH], after[_LOW])
        np.maximum(after[WIDTH], version, out=after[WIDTH])
        for at in (*np.flatnonzero(measures.any(axis=1)).tolist(), WIDTH):
            self._values[at][columns] = after[at]
            if _LOW.start <= at < _LOW.stop:  # what it carried, also where nothing else is high
                self._values[at - len(COSTS)][columns] = after[at - len(COSTS)]

    def put(self, keys: np.ndarray, measures: np.ndarray, versions: np.ndarray) -> None:
        """Windows as they were saved; nothing is there yet."""
        order = np.argsort(keys)
        self._keys, self._columns = keys[order], order
        self._values = np.concatenate([measures, versions[None]])

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys, and measures and versions (WIDTH + 1, n), of all windows."""
        return self._keys, self._values.take(self._columns, axis=1)

    def _find(self, keys: np.ndarray) -> np.ndarray:
        """The columns of keys; those that are not there get the next ones."""
        at = np.searchsorted(self._keys, keys)
        there = at < len(self._keys)
        there[there] = self._keys[at[there]] == keys[there]
        columns = np.empty(len(keys), np.int64)
        columns[there] = self._columns[at[there]]
        fresh = np.flatnonzero(~there)
        if len(fresh):
            count = len(self._keys)
            self._make_room(count + len(fresh))
            columns[fresh] = np.arange(count, count + len(fresh))
            self._keys = np.insert(self._keys, at[fresh], keys[fresh])
            self._columns = np.insert(self._columns, at[fresh], columns[fresh])
        return columns

    def _make_room(self, count: int) -> None:
        there, room = len(self._keys), self._values.shape[1]
        if count > room:
            roomier = np.empty((WIDTH + 1, max(_LEAST, count + count // 8, int(room * _GROWTH))), np.int64)
            roomier[:, :there] = self._values[:, :there]
            self._values = roomier
        self._values[:, there:count] = 0
