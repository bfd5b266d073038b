"""Which windows have closed, and what members spent in them: what the anomaly detectors are given. Pure.

A window closes when the watermark, a time of events and never of a clock, has passed its end by `LATENESS`. Each is
judged once; what comes later still counts in the windows, but is not judged again.
"""

from dataclasses import dataclass, field

import polars as pl

LATENESS = 30  # seconds
_MOST_WAITING = 50_000  # rows
MOST_PICOS = 9 * 10**18  # of a member in a window: statistics end there, sums of money do not

_TOKENS = ("input_tokens", "output_tokens")
SPENT = pl.Schema(
    {
        "dimension": pl.String(),
        "member": pl.String(),
        "window": pl.Int64(),  # number of the window: start // its seconds
        "cost_total": pl.Decimal(38, 12),
        "tokens": pl.Int64(),
        "calls": pl.Int64(),
    }
)
_KEY = ("dimension", "member", "window")


def spent(deltas: pl.DataFrame, seconds: int, dimensions: tuple[str, ...]) -> pl.DataFrame:
    """Spend of those dimensions' members by window, schema `SPENT`, of rows of spend.totals (`totals.SCHEMA`)."""
    rows = deltas.filter(pl.col("dimension").is_in(dimensions)).select(
        "dimension",
        "member",
        (pl.col("minute") // seconds).alias("window"),
        "cost_total",
        pl.sum_horizontal(_TOKENS).alias("tokens"),
        "calls",
    )
    return _sum([rows])


@dataclass
class Closing:
    """Members' spend in the windows that are still open. Frames have the schema `SPENT`.

    `seconds` is the width of a window, `through` the number of the latest that has closed. What comes waits, and is
    added up when somebody looks: many blocks come before a window closes.
    """

    seconds: int
    through: int = -1
    _open: pl.DataFrame = field(default_factory=SPENT.to_frame)
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _rows: int = 0  # of those that wait

    @property
    def open(self) -> pl.DataFrame:
        """The open windows."""
        self._add_up()
        return self._open

    @open.setter
    def open(self, frame: pl.DataFrame) -> None:
        self._open, self._waiting, self._rows = frame, [], 0

    def add(self, rows: pl.DataFrame, seconds: int) -> None:
        """Take in spend of windows so many seconds wide, which divide this one's; what has closed is left out."""
        wider = rows if seconds == self.seconds else rows.with_columns(pl.col("window") * seconds // self.seconds)
        self._waiting.append(wider)
        self._rows += wider.height
        if self._rows > _MOST_WAITING:
            self._add_up()

    def is_due(self, watermark: int) -> bool:
        """Whether the watermark (seconds since 1970) closes anything."""
        return (watermark - LATENESS) // self.seconds - 1 > self.through

    def close(self, watermark: int) -> pl.DataFrame:
        """Close what the watermark (seconds since 1970) has passed.

        Returns:
            (dimension, member, window, picos, units), ascending by window, then dimension and member; picos is Int64,
            units are tokens, or calls where there are no tokens.
        """
        before = self.open  # of what has closed by now, not by the new mark
        self.through = max(self.through, (watermark - LATENESS) // self.seconds - 1)
        is_over = pl.col("window") <= self.through
        closed, self.open = before.filter(is_over), before.filter(~is_over)
        return closed.select(
            *_KEY,
            picos=(pl.col("cost_total").clip(0, MOST_PICOS // 10**12) * 10**12).cast(pl.Int64),
            units=pl.when(pl.col("tokens") > 0).then("tokens").otherwise("calls"),
        ).sort("window", "dimension", "member")

    def _add_up(self) -> None:
        if self._waiting:
            rows = pl.concat(self._waiting).filter(pl.col("window") > self.through)
            self._open = _sum([self._open, rows])
            self._waiting, self._rows = [], 0


def _sum(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).group_by(_KEY).agg(pl.col("cost_total", "tokens", "calls").sum()).select(SPENT.names())
