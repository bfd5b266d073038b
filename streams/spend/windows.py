"""Windows of the members of one partition of spend.totals: minutes, quarters of an hour and days. Pure.

Deltas are added up in chunks, a level's windows of one stretch of time in one frame, so that work, memory and what has
to be saved follow what changes and not what is kept. Every member of a dimension lies in one partition, and all of a
partition's deltas pass through here in the order of their log, so sums do not depend on how they were batched.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from streams.spend.dimensions import DIMENSIONS, GLOBAL, is_other, other
from streams.spend.totals import MEASURES, SCHEMA

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

_LONGEST: Mapping[str, int] = {MINUTE: 60, QUARTER_HOUR: 900, DAY: 25 * 3_600}  # seconds of a window
_STRETCH: Mapping[str, int] = {MINUTE: 3_600, QUARTER_HOUR: 86_400, DAY: 1}  # seconds of one chunk; a day is its own


@dataclass(frozen=True)
class Retention:
    """Seconds behind the watermark that a window's end may lie, by level; what is older is frozen."""

    minute: int
    quarter_hour: int
    day: int = DAY_RETENTION

    def of(self, level: str) -> int:
        """Of a level."""
        return {MINUTE: self.minute, QUARTER_HOUR: self.quarter_hour, DAY: self.day}[level]


@dataclass
class Chunk:
    """The windows of a level in one stretch; `dirty` since it was saved."""

    frame: pl.DataFrame
    dirty: bool = True


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
        minutes = self._within_cap(deltas).rename({"minute": "start"})
        touched = {}
        for level, frame in self._on_time(minutes, pl.Series("as_of", as_of, dtype=pl.Int64)).items():
            stretch = pl.col("start") // _STRETCH[level]
            rows = frame.filter(
                ((stretch + 1) * _STRETCH[level] > watermark - self.retention.of(level))
                | stretch.is_in(list(self.chunks[level]))
            )
            if stretches := [at for name, at in held if name == level]:
                rows = rows.filter(~stretch.is_in(stretches))
            touched[level] = self._add(level, rows, version)
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
        self.chunks[level][at] = Chunk(frame, dirty=False)
        if level == DAY:
            for dimension, members in frame.group_by("dimension").agg(pl.col("member").unique()).iter_rows():
                self.members[dimension].update(name for name in members if name and not is_other(name))

    def days(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Each day's start and windows, the oldest first."""
        for at in sorted(self.chunks[DAY]):
            yield at, self.chunks[DAY][at].frame

    def local_midnight(self, second: int) -> int:
        """The start, in UTC seconds, of the local day that holds an instant."""
        day = datetime.fromtimestamp(second, UTC).astimezone(self.zone).date()
        return int(datetime.combine(day, time(), self.zone).timestamp())

    def _on_time(self, minutes: pl.DataFrame, as_of: pl.Series) -> dict[str, pl.DataFrame]:
        """Rows by level, `start` being that of their window, without those whose window was frozen when they came."""
        starts = minutes["start"]
        first_kept = {level: as_of - self.retention.of(level) for level in LEVELS}
        first, latest = int(starts.min()), int(as_of.max())  # type: ignore[arg-type]
        if all(first - _LONGEST[level] >= latest - self.retention.of(level) for level in LEVELS):
            quarters = _sums([minutes.with_columns(pl.col("start") // 900 * 900)])
            days = quarters.with_columns(self._midnights_of(quarters["start"]))
            return {MINUTE: minutes, QUARTER_HOUR: quarters, DAY: days}
        quarter_starts = starts // 900 * 900
        found = {}
        for level, start in (
            (MINUTE, starts),
            (QUARTER_HOUR, quarter_starts),
            (DAY, self._midnights_of(quarter_starts)),
        ):
            on_time, rows = start >= first_kept[level], minutes.with_columns(start.alias("start"))
            late = rows.filter(~on_time & (rows["dimension"] == GLOBAL))
            self.frozen[level] += int(late["calls"].sum())
            found[level] = rows.filter(on_time)
        return found

    def _within_cap(self, deltas: pl.DataFrame) -> pl.DataFrame:
        """The same deltas, with members beyond the cap as (other)."""
        beyond: list[tuple[str, str]] = []
        named = deltas.group_by("dimension").agg(pl.col("member").unique(maintain_order=True))
        for dimension, members in named.iter_rows():
            known = self.members[dimension]
            # '' is no member that takes room: it is what the others are not
            fresh = [name for name in members if name and name not in known and not is_other(name)]
            room = max(0, self.cap - len(known))
            known.update(fresh[:room])
            beyond += [(dimension, name) for name in (*fresh[room:], *filter(is_other, members))]
        if not beyond:
            return deltas
        over = pl.DataFrame(beyond, schema=["dimension", "member"], orient="row").with_columns(over=pl.lit(True))
        marked = deltas.join(over, on=["dimension", "member"], how="left", maintain_order="left")
        is_over = pl.col("over").is_not_null()
        self.beyond_cap += int(marked.filter(is_over)["calls"].sum())
        renamed = pl.when(is_over).then(pl.lit(other(self.partition))).otherwise("member")
        return marked.with_columns(member=renamed).drop("over")

    def _midnights_of(self, quarters: pl.Series) -> pl.Series:
        """The start of the local day of each quarter of an hour."""
        known = quarters.unique()
        for quarter in known.to_list():
            if quarter not in self._midnights:
                self._midnights[quarter] = self.local_midnight(quarter)
        return quarters.replace_strict(known, [self._midnights[q] for q in known.to_list()], return_dtype=pl.Int64)

    def _add(self, level: str, rows: pl.DataFrame, version: int) -> pl.DataFrame:
        if rows.is_empty():
            return WINDOW.to_frame()
        new = rows.with_columns(version=pl.lit(version, dtype=pl.Int64))
        stretch = _STRETCH[level]
        touched = (new["start"] // stretch).unique().to_list()
        chunks = self.chunks[level]
        before = [chunks[at].frame for at in touched if at in chunks]
        merged = _sums([*before, new], pl.col("version").max())
        placed = merged.with_columns(at=pl.col("start") // stretch)
        for (at,), frame in placed.partition_by("at", as_dict=True, include_key=False).items():
            chunks[int(at)] = Chunk(frame)
        return merged.join(new.select(KEY).unique(), on=KEY, how="semi")


def _sums(frames: list[pl.DataFrame], *more: pl.Expr) -> pl.DataFrame:
    return pl.concat(frames).group_by(KEY).agg(*(pl.col(name).sum() for name in MEASURES), *more)
