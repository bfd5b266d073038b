"""Which events were accepted before: the index of one usage partition.

The rule (DESIGN section 3, invariant 4): the event at offset `o` is a duplicate if and only if the same (source, id)
was accepted at an offset `a` with `0 < o - a <= horizon`. A dropped duplicate leaves `a` as it is; once the horizon has
passed, the next event of that identity is accepted and takes its place. Time plays no part.

The index is a ring of the last `horizon` offsets with hash chains over it, as zlib keeps its window (RFC 1951,
section 4): slot `offset mod horizon` holds the fingerprint accepted there (zero: nothing was) and the distance back to
the previous entry of its bucket. A chain runs from new to old, so a walk ends at the horizon by itself, nothing is ever
deleted, and the slot that a new offset takes is the one that just passed the horizon. Buckets grow a few splits at a
time (linear hashing, W. Litwin 1980), so no batch pays for a rebuild. Memory follows what was accepted: 20 bytes an
offset, 4 bytes a bucket, about one bucket an entry.
"""

import numpy as np

_FIRST_SLOTS = 16_384
_FIRST_BUCKETS = 1_024
_SPLIT = 1_024  # buckets split together at the least: fewer would pay a vector call for a handful
_BULK = 262_144  # rows linked or read together when an index is rebuilt or saved


class DedupIndex:
    """Accepted identities of one partition's last `horizon` offsets.

    Args:
        horizon: offsets, 1 to 2**31 - 1.

    Raises:
        ValueError: the horizon is out of range.
    """

    def __init__(self, horizon: int) -> None:
        if not 1 <= horizon < 2**31:
            raise ValueError(f"a dedup horizon is 1 to {2**31 - 1} offsets, not {horizon}")
        self.horizon = horizon
        self._start_over(0)

    def _start_over(self, base: int) -> None:
        """Empty the index; the offset `base` takes slot 0."""
        slots = min(_FIRST_SLOTS, self.horizon)
        self._base = base
        self._newest = -1  # position (offset - base) of the newest offset seen
        self._count = 0
        self._low = np.zeros(slots, dtype=np.uint64)
        self._high = np.zeros(slots, dtype=np.uint64)
        self._back = np.zeros(slots, dtype=np.uint32)  # distance to the previous entry of the bucket, 0: none
        self._buckets = _FIRST_BUCKETS
        self._heads = np.zeros(_FIRST_BUCKETS, dtype=np.uint32)  # slot + 1 of the newest entry, 0: none

    def __len__(self) -> int:
        """Entries within the horizon of the newest offset."""
        return self._count

    @property
    def newest(self) -> int | None:
        """The newest offset that the index knows the decision of; the next batch begins beyond it."""
        return None if self._newest < 0 else self._base + self._newest

    @property
    def nbytes(self) -> int:
        """Bytes of the index's arrays."""
        return self._low.nbytes + self._high.nbytes + self._back.nbytes + self._heads.nbytes

    def accept(self, keys: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Decide a batch and remember what it accepts, in one step.

        Args:
            keys: uint64 of shape (n, 2), from `fingerprints`; only events that are worth accepting (readable, priced).
            offsets: int64 of shape (n,), ascending, beyond `newest`.

        Returns:
            bool of shape (n,): True where the event is accepted, False where it is a duplicate.

        Raises:
            ValueError: the offsets do not ascend from beyond `newest`.
        """
        self._refuse_disorder(keys, offsets)
        if not len(offsets):
            return np.zeros(0, dtype=bool)
        low, high = np.ascontiguousarray(keys[:, 0]), np.ascontiguousarray(keys[:, 1])
        positions = offsets - (offsets[0] if self.newest is None else self._base)
        before = self._find(low, high, positions)
        accepted = before < 0
        latest: dict[tuple[int, int], int] = {}
        for row in _rows_of_repeated(low):  # few: identities that this batch itself repeats are decided in order
            key, position = (int(low[row]), int(high[row])), int(positions[row])
            at = latest.get(key, int(before[row]))
            accepted[row] = at < 0 or position - at > self.horizon
            latest[key] = position if accepted[row] else at
        self._append(low[accepted], high[accepted], offsets[accepted], int(offsets[-1]))
        return accepted

    def load(self, keys: np.ndarray, offsets: np.ndarray, through: int | None = None) -> None:
        """Remember rows that were accepted before: a rebuild from blocks.

        Args:
            keys: uint64 of shape (n, 2).
            offsets: int64 of shape (n,), ascending, beyond `newest`.
            through: last offset that is decided, when that is beyond the last accepted one.

        Raises:
            ValueError: the offsets do not ascend from beyond `newest`.
        """
        self._refuse_disorder(keys, offsets)
        for start in range(0, len(offsets), _BULK):
            some = slice(start, start + _BULK)
            self._append(keys[some, 0], keys[some, 1], offsets[some], int(offsets[some][-1]))
        if through is not None and (self.newest is None or through > self.newest):
            self._append(keys[:0, 0], keys[:0, 1], offsets[:0], through)

    def _refuse_disorder(self, keys: np.ndarray, offsets: np.ndarray) -> None:
        if keys.shape != (len(offsets), 2):
            raise ValueError(f"keys of shape {keys.shape} for {len(offsets)} offsets")
        if not len(offsets):
            return
        if (np.diff(offsets) <= 0).any():
            raise ValueError("offsets must ascend")
        if self.newest is not None and offsets[0] <= self.newest:
            raise ValueError(f"offset {offsets[0]} was decided before: the index has come to {self.newest}")

    def _find(self, low: np.ndarray, high: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Position at which each key was accepted within the horizon of its own; -1 where it was not."""
        found = np.full(len(low), -1, dtype=np.int64)
        at = self._head_positions(self._bucket(low))
        rows = np.arange(len(low))
        oldest = positions - self.horizon
        while len(rows):
            reached = (at >= 0) & (at >= oldest[rows])  # beyond it the chain is older still
            rows, at = rows[reached], at[reached]
            slot = self._slot(at)
            same = self._low[slot] == low[rows]
            if same.any():
                same[same] = self._high[slot[same]] == high[rows[same]]
                found[rows[same]] = at[same]
            back = self._back[slot].astype(np.int64)
            on = ~same & (back > 0)
            rows, at = rows[on], at[on] - back[on]
        return found

    def _append(self, low: np.ndarray, high: np.ndarray, offsets: np.ndarray, through: int) -> None:
        """Take accepted rows, and every other offset up to `through` as one that accepted nothing."""
        if self.newest is None or through - self.newest >= self.horizon:
            first = int(offsets[0]) if len(offsets) else through
            self._start_over(max(first, through - self.horizon + 1))
        position = offsets - self._base
        if len(position) and position[0] < 0:
            low, high, position = low[position >= 0], high[position >= 0], position[position >= 0]
        self._make_room(self._newest + 1, through - self._base + 1)
        self._newest = through - self._base
        self._count += len(position)
        self._split_to(self._count)
        if len(position):
            self._link(low, high, position)

    def _make_room(self, start: int, stop: int) -> None:
        """Grow the ring to hold positions [start, stop), and empty the slots among them that are taken over."""
        if len(self._low) < min(stop, self.horizon):
            slots = min(self.horizon, max(stop, len(self._low) * 9 // 8))
            for column in (self._low, self._high, self._back):
                column.resize(slots, refcheck=False)  # in place, filled with zeros
        start = max(start, self.horizon)
        while start < stop:
            first = start % self.horizon
            last = min(self.horizon, first + stop - start)
            low = self._low[first:last]
            bucket = self._bucket(low)
            newest_of_bucket = self._heads[bucket] == np.arange(first + 1, last + 1)
            self._heads[bucket[newest_of_bucket]] = 0
            self._count -= int(np.count_nonzero(low | self._high[first:last]))
            for column in (self._low, self._high, self._back):
                column[first:last] = 0
            start += last - first

    def _link(self, low: np.ndarray, high: np.ndarray, position: np.ndarray) -> None:
        """Write rows into their slots and put them at the head of their chains, the newest first."""
        slot, bucket = self._slot(position), self._bucket(low)
        order = np.sort((bucket.astype(np.uint64) << np.uint64(32)) | np.arange(len(bucket), dtype=np.uint64))
        row = (order & np.uint64(0xFFFFFFFF)).astype(np.int64)
        bucket, slot, position = bucket[row], slot[row], position[row]
        first = np.append(True, bucket[1:] != bucket[:-1])
        previous = np.append(-1, position[:-1])
        previous[first] = self._head_positions(bucket[first])
        self._back[slot] = np.where(previous < 0, 0, position - previous)
        self._low[slot], self._high[slot] = low[row], high[row]
        last = np.append(first[1:], True)
        self._heads[bucket[last]] = slot[last] + 1

    def _split_to(self, buckets: int) -> None:
        """Split buckets, in turn, until there are as many as wanted: about one entry a bucket."""
        while self._buckets < buckets:
            level = 1 << (self._buckets.bit_length() - 1)
            first = self._buckets - level
            some = min(level - first, max(_SPLIT, buckets - self._buckets))
            if len(self._heads) < self._buckets + some:
                self._heads.resize(max(self._buckets + some, len(self._heads) * 9 // 8), refcheck=False)
            self._split(np.arange(first, first + some), level)
            self._buckets += some

    def _split(self, buckets: np.ndarray, level: int) -> None:
        """Deal each bucket's chain out to itself and to bucket + level, by the next bit of the fingerprint."""
        at = self._head_positions(buckets)
        self._heads[buckets] = 0
        tails = np.full((2, len(buckets)), -1, dtype=np.int64)
        oldest = self._newest - self.horizon + 1
        rows = np.arange(len(buckets))
        while True:
            alive = (at >= 0) & (at >= oldest)
            rows, at = rows[alive], at[alive]
            if not len(rows):
                break
            slot = self._slot(at)
            back = self._back[slot].astype(np.int64)
            side = ((self._low[slot] & np.uint64(level)) != 0).astype(np.int64)
            tail = tails[side, rows]
            new = tail < 0
            self._heads[(buckets[rows] + level * side)[new]] = slot[new] + 1
            self._back[self._slot(tail[~new])] = tail[~new] - at[~new]
            tails[side, rows] = at
            rows, at = rows[back > 0], (at - back)[back > 0]
        ends = tails[tails >= 0]
        self._back[self._slot(ends)] = 0

    def _bucket(self, low: np.ndarray) -> np.ndarray:
        level = 1 << (self._buckets.bit_length() - 1)
        bucket = (low & np.uint64(2 * level - 1)).astype(np.int64)
        return np.where(bucket < self._buckets, bucket, bucket - level)

    def _slot(self, position: np.ndarray) -> np.ndarray:
        return position if self._newest < self.horizon else position % self.horizon

    def _head_positions(self, bucket: np.ndarray) -> np.ndarray:
        """Position of each bucket's newest entry, -1 where the bucket is empty."""
        slot = self._heads[bucket].astype(np.int64) - 1
        if self._newest < self.horizon:
            return slot
        return np.where(slot < 0, -1, self._newest - (self._newest - slot) % self.horizon)


def _rows_of_repeated(low: np.ndarray) -> list[int]:
    """Rows, ascending, whose value another row has too."""
    ordered = np.sort(low)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(low, again)).tolist() if len(again) else []
