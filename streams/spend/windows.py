"""Windows of the members of one partition of spend.totals: minutes, quarters of an hour and days. Pure.

Deltas are added up in chunks, a level's windows of one stretch of time, in place, so that work and what has to be saved
follow what changes and not what is kept. Every member of a dimension lies in one partition, and all of a
partition's deltas pass through here in the order of their log, so sums do not depend on how they were batched.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from streams.spend.dimensions import COUNTS, DIMENSIONS, GLOBAL, is_other, other
from streams.spend.totals import MEASURES, SCHEMA, runs
from streams.spend.window_sums import WIDTH, WindowSums, columns_of, measures_of, summed

MINUTE, QUARTER_HOUR, DAY = "minute", "quarter_hour", "day"
LEVELS: tuple[str, ...] = (MINUTE, QUARTER_HOUR, DAY)
DAY_RETENTION = 400 * 86_400  # seconds

KEY = ("dimension", "member", "start")
WINDOW = pl.Schema(
    {
        "dimension": pl.String(),
        "member": pl.String(),
        "start": pl.Int64(),  # seconds since 1970; of a day, the local midnight
        **{name: SCHEMA[name] for name in MEASURES},
        "version": pl.Int64(),  # the greatest offset of spend.totals that is in it
    }
)
Place = tuple[str, int]
"""A chunk: its level and the number of its stretch."""

_STRETCH: Mapping[str, int] = {MINUTE: 3_600, QUARTER_HOUR: 86_400, DAY: 1}  # seconds of one chunk; a day is its own
_BITS = 30  # of a member's number
_NUMBER = 2**_BITS - 1
_CALLS = COUNTS.index("calls")


@dataclass(frozen=True)
class Retention:
    """Seconds behind the watermark that a window's end may lie, by level; what is older is frozen."""

    minute: int
    quarter_hour: int
    day: int = DAY_RETENTION

    def of(self, level: str) -> int:
        """Of a level."""
        return {MINUTE: self.minute, QUARTER_HOUR: self.quarter_hour, DAY: self.day}[level]


class _Names:
    """Numbers for members, so that windows have keys of 64 bits: start * 2**_BITS + number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._fresh: list[tuple[str, str]] = []
        self._names = pl.DataFrame(schema=["dimension", "member"]).cast(pl.String)

    def number(self, key: tuple[str, str]) -> int:
        """The number of a (dimension, member)."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            self._fresh.append(key)
        return number

    def numbers(self, heads: pl.DataFrame) -> np.ndarray:
        """The numbers of many (dimension, member); one that is there twice has the same number twice."""
        known = self._all().with_row_index("number")
        found = heads.join(known, on=["dimension", "member"], how="left", maintain_order="left")["number"]
        numbers = found.fill_null(0).to_numpy().astype(np.int64)
        is_new = found.is_null().to_numpy()
        numbers[is_new] = [self.number(key) for key in heads.filter(is_new).rows()]
        return numbers

    def frame(self, keys: np.ndarray, values: np.ndarray) -> pl.DataFrame:
        """Windows of those keys, of their measures and versions (WIDTH + 1, n); schema `WINDOW`."""
        names, number = self._all(), pl.Series(keys & _NUMBER)
        return pl.DataFrame(
            {
                **{name: names[name].gather(number) for name in ("dimension", "member")},
                "start": keys >> _BITS,
                **columns_of(values),
                "version": values[WIDTH],
            }
        )

    def _all(self) -> pl.DataFrame:
        if self._fresh:
            self._names.extend(pl.DataFrame(self._fresh, schema=self._names.schema, orient="row"))
            self._fresh.clear()
        return self._names


@dataclass
class Chunk:
    """The windows of a level in one stretch; `dirty` since it was saved."""

    names: _Names
    sums: WindowSums = field(default_factory=WindowSums)
    dirty: bool = True

    @property
    def frame(self) -> pl.DataFrame:
        """All of them, schema `WINDOW`; made anew each time."""
        return self.names.frame(*self.sums.all())


@dataclass
class Windows:
    """All windows of a partition. Frames have the schema `WINDOW`, one row a window."""

    partition: int
    zone: ZoneInfo
    retention: Retention
    cap: int  # members of a dimension with windows of their own, beside ''
    chunks: dict[str, dict[int, Chunk]] = field(default_factory=lambda: {level: {} for level in LEVELS})
    expired: dict[str, list[int]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    members: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in DIMENSIONS})
    beyond_cap: int = 0  # calls that were counted under (other)
    frozen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))  # calls too late for a level
    _names: _Names = field(default_factory=_Names)
    _midnights: dict[int, int] = field(default_factory=dict)

    def merge(
        self,
        messages: Sequence[tuple[pl.DataFrame, int]],
        version: int,
        watermark: int,
        held: Set[Place] = frozenset(),
    ) -> dict[str, pl.DataFrame]:
        """Add deltas (schema `totals.SCHEMA`) and return the windows that changed, whole, by level.

        Args:
            messages: rows of spend.totals, none of which was added before, and the watermark, seconds since 1970, when
                they came: what was further behind it than its level is kept is too late and is counted in `frozen`.
            version: offset of the last of them.
            watermark: with all of them; stretches that lie further behind it are not begun any more.
            held: chunks that these deltas are in already.
        """
        deltas = pl.concat([frame for frame, _ in messages])
        as_of = np.repeat([at for _, at in messages], [frame.height for frame, _ in messages])
        number, is_global = self._numbered(deltas)
        minute, measures = deltas["minute"].to_numpy(), measures_of(deltas)
        touched = {}
        for level, start in self._starts(minute).items():
            on_time = start >= as_of - self.retention.of(level)
            self.frozen[level] += int(measures[_CALLS][~on_time & is_global].sum())
            stretches, at = np.unique(start // _STRETCH[level], return_inverse=True)
            begun = [(level, s) not in held and self._may_begin(level, s, watermark) for s in stretches.tolist()]
            on_time &= np.array(begun)[at]
            key, added = (start << _BITS) + number, measures
            if not on_time.all():
                key, added = key[on_time], measures[:, on_time]
            touched[level] = self._add(level, *summed(key, added), version)
        return touched

    def expire(self, watermark: int) -> None:
        """Let go of what lies further behind the watermark than its level is kept; `expired` names the chunks."""
        for level in LEVELS:
            oldest = watermark - self.retention.of(level)
            gone = [at for at in self.chunks[level] if (at + 1) * _STRETCH[level] <= oldest]
            for at in gone:
                del self.chunks[level][at]
            self.expired[level] += gone

    def put_back(self, level: str, at: int, frame: pl.DataFrame) -> None:
        """A chunk as it was saved."""
        chunk = self.chunks[level][at] = Chunk(self._names, dirty=False)
        heads, run = runs(frame)
        number = self._names.numbers(heads)[run]
        chunk.sums.put((frame["start"].to_numpy() << _BITS) + number, measures_of(frame), frame["version"].to_numpy())
        if level == DAY:
            for dimension, members in heads.group_by("dimension").agg(pl.col("member")).iter_rows():
                fresh = set(members) - self.members[dimension]
                self.members[dimension].update(name for name in fresh if name and not is_other(name))

    def days(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Each day's start and windows, the oldest first."""
        for at in sorted(self.chunks[DAY]):
            yield at, self.chunks[DAY][at].frame

    def minutes(self, since: int, until: int) -> Iterator[pl.DataFrame]:
        """The minute windows of the stretches that have a part of [since, until), seconds since 1970."""
        width = _STRETCH[MINUTE]
        for at in sorted(self.chunks[MINUTE]):
            if at * width < until and since < (at + 1) * width:
                yield self.chunks[MINUTE][at].frame

    def local_midnight(self, second: int) -> int:
        """The start, in UTC seconds, of the local day that holds an instant."""
        day = datetime.fromtimestamp(second, UTC).astimezone(self.zone).date()
        return int(datetime.combine(day, time(), self.zone).timestamp())

    def _may_begin(self, level: str, stretch: int, watermark: int) -> bool:
        """Whether windows of a stretch are there or may come about."""
        is_kept = (stretch + 1) * _STRETCH[level] > watermark - self.retention.of(level)
        return is_kept or stretch in self.chunks[level]

    def _starts(self, minute: np.ndarray) -> dict[str, np.ndarray]:
        """The start of the window that each minute is in, by level."""
        quarter_hour = minute // 900 * 900
        quarters, at = np.unique(quarter_hour, return_inverse=True)
        for quarter in quarters.tolist():
            if quarter not in self._midnights:
                self._midnights[quarter] = self.local_midnight(quarter)
        days = np.array([self._midnights[quarter] for quarter in quarters.tolist()])
        return {MINUTE: minute, QUARTER_HOUR: quarter_hour, DAY: days[at]}

    def _numbered(self, deltas: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """The number of each delta's member, those beyond the cap as (other), and which deltas are of all calls."""
        frame, run = runs(deltas)
        heads = frame.rows()
        is_over = np.array([not self._admit(*key) for key in heads])
        if is_over.any():
            self.beyond_cap += int(deltas["calls"].to_numpy()[is_over[run]].sum())
        others = other(self.partition)
        number = [
            self._names.number((dimension, others if over else member))
            for (dimension, member), over in zip(heads, is_over.tolist(), strict=True)
        ]
        return np.array(number, np.int64)[run], np.array([dimension == GLOBAL for dimension, _ in heads])[run]

    def _admit(self, dimension: str, member: str) -> bool:
        """Whether a member has windows of its own."""
        known = self.members[dimension]
        if not member or member in known:  # '' is no member that takes room: it is what the others are not
            return True
        if is_other(member) or len(known) >= self.cap:
            return False
        known.add(member)
        return True

    def _add(self, level: str, keys: np.ndarray, sums: np.ndarray, version: int) -> pl.DataFrame:
        """Windows whose keys ascend, each once; returns them as they are now."""
        if not len(keys):
            return WINDOW.to_frame()
        stretch = (keys >> _BITS) // _STRETCH[level]
        begins = np.flatnonzero(np.diff(stretch, prepend=-1))
        values = np.empty((WIDTH + 1, len(keys)), np.int64)
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(keys)], strict=True):
            chunk = self.chunks[level].setdefault(int(stretch[begin]), Chunk(self._names))
            chunk.sums.add(keys[begin:end], sums[:, begin:end], version, values[:, begin:end])
            chunk.dirty = True
        return self._names.frame(keys, values)
