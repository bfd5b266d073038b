"""The Numenta Anomaly Benchmark's scoring rule, standard profile.

Source: A. Lavin and S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark", ICMLA
2015, and the benchmark's public description. A detection inside a labelled window counts once, the earliest, and the
more the earlier; a window without one costs 1; every detection outside costs up to 0.11, less just after a window. The
first 15 % of a series (of at most 5,000 records) is for learning and is not scored.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRUE_POSITIVE = 1.0
FALSE_POSITIVE = 0.11
FALSE_NEGATIVE = 1.0
PROBATION_SHARE = 0.15
PROBATION_RECORDS = 5_000  # of longer series only so many count towards the probation: 750 records at the most


@dataclass(frozen=True)
class SeriesScore:
    """What one series adds to the raw score.

    `windows` are the labelled windows that count, `found` how many of them have a detection, `false` the detections
    outside any window, `raw` the weighted sum.
    """

    windows: int
    found: int
    false: int
    raw: float

    @property
    def normalised(self) -> float | None:
        """0 for a detector that never speaks, 100 for a perfect one; None for a series without windows."""
        return normalise(self.raw, self.windows) if self.windows else None


def probation(records: int) -> int:
    """Records at a series' start that are not scored."""
    return int(min(math.floor(PROBATION_SHARE * records), PROBATION_SHARE * PROBATION_RECORDS))


def position_value(position: float) -> float:
    """The scaled sigmoid: 0.987 at a window's left edge (-1), 0 at its right edge (0), towards -1 beyond it.

    `position` is measured in widths of the window from its right edge; three widths beyond it and more is -1.
    """
    return -1.0 if position >= 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def score_series(records: int, windows: Sequence[tuple[int, int]], detections: Iterable[int]) -> SeriesScore:
    """Score the detections of one series.

    Args:
        records: length of the series.
        windows: first and last record of each labelled window, inclusive, ascending, disjoint.
        detections: indices of the records at which the detector spoke.

    Raises:
        ValueError: a window or a detection lies outside the series, or windows are out of order.
    """
    _refuse_disorder(records, windows)
    start = probation(records)
    counted = [window for window in windows if window[1] >= start]
    best: dict[tuple[int, int], float] = {}
    raw, false = 0.0, 0
    for at in sorted(set(detections)):
        if not 0 <= at < records:
            raise ValueError(f"a detection at record {at} of a series of {records}")
        if at < start:
            continue
        inside = next((window for window in windows if window[0] <= at <= window[1]), None)
        if inside is None:
            false += 1
            raw += FALSE_POSITIVE * position_value(_beyond(at, windows))
        else:
            width = inside[1] - inside[0] + 1
            value = TRUE_POSITIVE * position_value(-(inside[1] - at + 1) / width) / position_value(-1.0)
            best[inside] = max(best.get(inside, -FALSE_NEGATIVE), value)
    raw += sum(best.get(window, -FALSE_NEGATIVE) for window in counted)
    return SeriesScore(len(counted), len(best), false, raw)


def normalise(raw: float, windows: int) -> float:
    """The raw score on the scale of the null detector (0) and the perfect one (100)."""
    if windows < 1:
        raise ValueError("a score is relative to labelled windows, and there are none")
    null, perfect = -FALSE_NEGATIVE * windows, TRUE_POSITIVE * windows
    return 100.0 * (raw - null) / (perfect - null)


def total(scores: Iterable[SeriesScore]) -> SeriesScore:
    """The corpus as if it were one series; its `normalised` is the benchmark's figure."""
    every = list(scores)
    return SeriesScore(
        sum(s.windows for s in every),
        sum(s.found for s in every),
        sum(s.false for s in every),
        math.fsum(s.raw for s in every),
    )


def _beyond(at: int, windows: Sequence[tuple[int, int]]) -> float:
    """Distance past the last window before `at`, in widths of that window; far when there is none."""
    before = [window for window in windows if window[1] < at]
    if not before:
        return 3.0
    first, last = before[-1]
    return (at - last) / max(last - first, 1)


def _refuse_disorder(records: int, windows: Sequence[tuple[int, int]]) -> None:
    previous = -1
    for first, last in windows:
        if not previous < first <= last < records:
            raise ValueError(f"window {first} to {last}, of {records} records, after one that ends at {previous}")
        previous = last
