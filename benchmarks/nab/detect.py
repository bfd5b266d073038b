"""The product's baseline on series that are not spend: the adapter, the same for all series.

Values become picodollars: what is negative in the probation moves the series up, and the median of the probation's
values above zero becomes one dollar; nothing after the probation is looked at before its time. The series' step, five
minutes or an hour, is the window. Spend has a good side and a bad one, these series have not: both directions count
(`Evidence.either`), and there is no floor. Everything else is `streams.spend.baseline` as it is.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.nab.corpus import Series
from benchmarks.nab.scorer import probation
from streams.spend import baseline

DOLLAR = 10**12
SETTING = baseline.Setting(unit_picos=DOLLAR)
CALM = 48  # windows without an anomaly that end an incident, as in `streams.spend.anomaly.Policy`
THRESHOLD = 31.0  # summed surprise that opens an incident


def surprises(corpus: Sequence[Series]) -> list[np.ndarray]:
    """The summed surprise at every record of each series, (n,): what was unusual in either direction.

    Series of one step are observed side by side, the longest first, one record of each a call.
    """
    results = [np.zeros(len(series.times)) for series in corpus]
    for width in (300, 3_600):
        rows = sorted(
            (row for row, series in enumerate(corpus) if _width(series) == width), key=lambda row: -len(results[row])
        )
        setting = baseline.Setting(window_seconds=width, unit_picos=SETTING.unit_picos)
        states = baseline.new_members(len(rows))
        windows = [_windows(corpus[row], width) for row in rows]
        picos = [_picos(corpus[row]) for row in rows]
        for record in range(len(results[rows[0]]) if rows else 0):
            there = sum(len(values) > record for values in picos)
            evidence = baseline.observe(
                states[:there],
                np.array([numbers[record] for numbers in windows[:there]]),
                np.array([values[record] for values in picos[:there]]),
                np.zeros(there, dtype=np.int64),
                setting,
            )
            for row, surprise in zip(rows, evidence.either, strict=False):
                results[row][record] = surprise
    return results


def openings(surprise: np.ndarray, threshold: float, calm: int = CALM) -> list[int]:
    """Records at which an incident opens: the surprise reaches the threshold and has not for `calm` records."""
    high = np.flatnonzero(surprise >= threshold)
    return [int(at) for at in high[np.diff(high, prepend=-calm - 1) > calm]]


def _width(series: Series) -> int:
    return 300 if np.median(np.diff(series.times)) < 1_800 else 3_600


def _windows(series: Series, width: int) -> np.ndarray:
    """Each record's window number; records that fall into one window, or run backwards, take the next free one."""
    numbers, order = series.times // width, np.arange(len(series.times))
    return np.maximum.accumulate(numbers - order) + order


def _picos(series: Series) -> np.ndarray:
    learned = series.values[: max(probation(len(series.values)), 1)]
    shift = min(0.0, learned.min())
    above = learned[learned > shift] - shift
    scale = float(np.median(above)) if len(above) else 1.0
    return np.rint(np.clip((series.values - shift) / scale, 0, 4_000_000) * DOLLAR).astype(np.int64)
