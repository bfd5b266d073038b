"""What a member of a dimension normally spends in a window, and how improbable the latest window is. Pure.

One `State` record a member, all members of a call at once (numpy, columnar), O(1) a closed window. Money comes in as
integers of picodollars and becomes log-spend for statistics only: every float here is money-free, and nothing computed
here is added to an amount. `expected_picos` rounds an expectation to whole picodollars for people to read.

Two baselines stand beside each other:

- an exponentially weighted level of log spend, there from the first hours;
- a season: the median of the same hour of the week over the last four weeks, or, in the first week, of the same hour of
  the last five days. The band between the hour before and the hour after counts as normal, so that neither summer time
  nor a ramp that comes a little early is news. What the season has lately left unexplained moves what is expected, so
  growth that repeats is expected.

The latest windows are held against them in several ways ("evidence"): means of the latest 4, 12 and 36 windows against
the level (level shifts), of 12 against the season, the step from the twelve windows before, the window itself against
either baseline, and the cost of a unit against its own level. Each way keeps a model of its own tail: the 95 % quantile
by stochastic approximation (Robbins and Monro 1951) and the mean excess beyond it (peaks over threshold with an
exponential tail, Pickands 1975; on streams Siffer et al., "SPOT", KDD 2017). A surprise is -ln of the estimated
probability. So a member that bursts every night widens its own tail, and repetition stops being news; no member needs
settings of its own. Beside the tails runs a cumulative sum, for what comes too slowly to be in any tail.

A window that is missing is not zero: it teaches nothing and proves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Stat = np.float32  # money-free: log spend and what is computed from it
WEEKS = 5
_HOURS = WEEKS * 168  # hours of history a member, a ring
_UNKNOWN = np.iinfo(np.uint16).max
_RECENT, _RECENT_SEASON = 36, 12  # windows
_MEANS = (4, 12, 36)  # windows whose mean is held against the level
_STEPS = 2_048.0  # money-free: steps of the stored log spend per unit of natural log, 0.05 % apart

EVIDENCE = ("mean_4", "mean_12", "mean_36", "season_12", "step", "window", "window_season", "unit_cost")
_JOINT = 7
_ALLOWED, _LARGEST, _MOST = 1.0, 4.0, 60.0  # money-free: the cumulative sum's allowance, greatest step and bound
_SEASON, _STEP, _WINDOW, _WINDOW_SEASON, _UNIT = 3, 4, 5, 6, 7
_FORMAT = 1

State = np.dtype(
    [
        ("format", "u1"),
        ("windows", "u4"),  # closed windows seen
        ("last", "i8"),  # number of the latest one: start // window_seconds
        ("level", "f4"),  # money-free: slow average of log spend
        ("recent", "f4", _RECENT),  # money-free: log spend of the latest windows, a ring by `windows`
        ("recent_season", "f4", _RECENT_SEASON),  # money-free: their distances from the seasonal band
        ("recent_deviation", "f4", _RECENT_SEASON),  # money-free: their distances from what was expected
        (
            "season",
            "f4",
            3,
        ),  # money-free: medians of the hour before, the latest window's hour, the one after; NaN: none
        ("offset", "f4"),  # money-free: slow average of what the season leaves unexplained: growth
        ("spread", "f4"),  # money-free: usual size of the distance from what was expected
        ("drifted", "f4"),  # money-free: cumulative sum of such distances, in spreads: slow shifts upwards
        ("season_windows", "u4"),  # windows seen since there is a season
        ("hour_count", "u1"),  # windows of the current hour so far
        ("unit_windows", "u4"),  # windows with units
        ("unit_level", "f4"),  # money-free: slow average of log cost of a unit
        ("hours", "u2", _HOURS),  # medians of log spend of past hours, by hour number modulo the ring
        ("size", "f4", (len(EVIDENCE), 2)),  # money-free: usual size of each evidence's distance, up and down
        ("quantile", "f4", (len(EVIDENCE), 2)),  # money-free: its 95 % quantile
        ("excess", "f4", (len(EVIDENCE), 2)),  # money-free: mean excess beyond it
    ]
)


@dataclass(frozen=True)
class Setting:
    """How a detector learns; one for all members.

    `window_seconds` is 300 or 3600. `unit_picos` is the spend a window below which differences fade (log(1 + spend /
    unit)). Memories are in windows. `warm` windows must have been seen before anything is improbable.
    """

    window_seconds: int = 300
    unit_picos: int = 10**10
    level_memory: int = 1_000
    offset_memory: int = 576
    tail_memory: int = 1_000
    tail_share: float = 0.05  # money-free: share of windows beyond the tracked quantile
    cap: float = 10.0  # money-free: no single evidence may say more than this
    warm: int = 72


@dataclass(frozen=True)
class Evidence:
    """What a batch of closed windows says, a row a member.

    `surprise` (n, evidence, 2) is -ln of the probability of each evidence, upwards and downwards, not capped; 0 within
    the usual 95 %. Natural logarithms: 9 is one false alarm in 8,000 windows, a month of five minutes. `drifted` (n,)
    is a one-sided cumulative sum (E. S. Page 1954) of the distances from what was expected, in spreads less an
    allowance of one; 0 without a season. `expected` (n,) is log spend, what the season (else the level) had expected;
    `known_season` (n,) says which.
    """

    surprise: np.ndarray
    drifted: np.ndarray
    expected: np.ndarray
    known_season: np.ndarray
    cap: float  # money-free

    @property
    def either(self) -> np.ndarray:
        """All evidence together, for series without a good and a bad side: (n,).

        Capped surprises, each in its more surprising direction, summed; the cost of a unit is not among them.
        """
        return np.minimum(self.surprise[:, :_JOINT], self.cap).max(axis=2).sum(axis=1)

    @property
    def sudden(self) -> np.ndarray:
        """Surprise of a jump to where the member does not usually stand: (n, 2). Both must find it improbable."""
        return np.minimum(self.surprise[:, _STEP], self._against_usual)

    @property
    def dearer(self) -> np.ndarray:
        """Surprise of the cost of a unit: (n, 2)."""
        return self.surprise[:, _UNIT]

    @property
    def _against_usual(self) -> np.ndarray:
        return np.where(self.known_season[:, None], self.surprise[:, _WINDOW_SEASON], self.surprise[:, _WINDOW])


def new_members(count: int) -> np.ndarray:
    """States of `count` members that have never been seen: a structured array of dtype `State`."""
    states = np.zeros(count, dtype=State)
    states["format"] = _FORMAT
    states["last"] = -1
    states["hours"] = _UNKNOWN
    states["season"] = np.nan
    return states


def split(states: np.ndarray) -> list[bytes]:
    """Each record of a structured array as bytes, for a table: about 2 KB, most of it five weeks of hours."""
    size, joined = states.dtype.itemsize, states.tobytes()
    return [joined[at : at + size] for at in range(0, len(joined), size)]


def join(values: Sequence[bytes], dtype: np.dtype) -> np.ndarray:
    """`split` undone: a writable array of the dtype.

    Raises:
        ValueError: bytes of another length.
    """
    if any(len(value) != dtype.itemsize for value in values):
        raise ValueError(f"a detector's state has {dtype.itemsize} bytes; rebuild this one from the windows")
    return np.frombuffer(b"".join(values), dtype=dtype).copy()


def refuse_other_format(states: np.ndarray) -> None:
    """Raises ValueError for states that another version of this module wrote."""
    if (states["format"] != _FORMAT).any():
        raise ValueError(f"a detector's state of another format than {_FORMAT}; rebuild it from the windows")


def log_spend(picos: np.ndarray, unit_picos: int) -> np.ndarray:
    """ln(1 + spend / unit), money-free: a statistic. Credits (negative spend) count as nothing spent."""
    return np.log1p(np.maximum(picos, 0) / unit_picos)


def expected_picos(expected: np.ndarray, unit_picos: int) -> np.ndarray:
    """Log spend as whole picodollars, for people: int64 (n,)."""
    return np.rint(np.expm1(np.minimum(expected, 36)) * unit_picos).clip(0, 2**62).astype(np.int64)


def observe(
    states: np.ndarray, windows: np.ndarray, picos: np.ndarray, units: np.ndarray, setting: Setting
) -> Evidence:
    """Take one closed window of each member: judge it by what was known before, then learn it.

    Args:
        states: dtype `State`, shape (n,); changed in place.
        windows: int64 (n,), number of the window: start // window_seconds, UTC.
        picos: int64 (n,), spend in it.
        units: int64 (n,), what the spend bought, tokens or else calls; 0: not known.

    Raises:
        ValueError: a window is not later than the member's latest: a closed window is judged once.
    """
    if (windows <= states["last"]).any():
        raise ValueError("a window that is not later than the member's latest: each closed window is judged once")
    spend = log_spend(picos, setting.unit_picos).astype(Stat)
    _turn_hours(states, windows, setting)

    seen = states["windows"] + 1
    level = np.where(seen == 1, spend, states["level"])
    season = np.ascontiguousarray(states["season"].T)
    low, high = np.minimum.reduce(season), np.maximum.reduce(season)
    known = ~np.isnan(low)
    beyond = np.where(known, spend - np.minimum(np.maximum(spend, low), high), Stat(0))
    expected = np.where(known, _between_hours(season, windows, setting) + states["offset"], level)
    deviation = spend - expected
    index, slot = np.arange(len(states)), states["windows"] % _RECENT_SEASON
    step = deviation - _means_of_latest(states["recent_deviation"], states["windows"], (_RECENT_SEASON,))[:, 0]
    states["recent_deviation"][index, slot] = deviation
    states["recent"][index, states["windows"] % _RECENT] = spend
    states["recent_season"][index, slot] = beyond
    states["season_windows"] += known
    distance = np.empty((len(states), len(EVIDENCE)), Stat)
    distance[:, :_SEASON] = _means_of_latest(states["recent"], seen, _MEANS) - level[:, None]
    distance[:, _SEASON] = _means_of_latest(states["recent_season"], seen, (_RECENT_SEASON,))[:, 0]
    distance[:, _STEP] = step
    distance[:, _WINDOW] = spend - level
    distance[:, _WINDOW_SEASON] = beyond
    distance[:, _UNIT] = _unit_cost(states, picos, units, setting)
    counts = np.empty((len(states), len(EVIDENCE)), Stat)
    counts[:] = seen[:, None]
    counts[:, _SEASON] = counts[:, _WINDOW_SEASON] = states["season_windows"]
    counts[:, _UNIT] = states["unit_windows"]
    surprise = _surprise(states, distance, counts, setting)
    states["level"] = level + _rate(setting.level_memory, seen) * (spend - level)
    states["hour_count"] += 1
    states["windows"] = seen
    states["last"] = windows
    settled = known & (states["season_windows"] > setting.warm)
    drifted = _drift(states, deviation, known, settled, setting)
    return Evidence(surprise, drifted, expected, settled, setting.cap)


def _rate(memory: int, seen: np.ndarray) -> np.ndarray:
    """Weight of the latest window: half is forgotten after `memory`; a plain mean until then."""
    return np.maximum(Stat(1.0 - 0.5 ** (1.0 / memory)), (1.0 / seen).astype(Stat, copy=False))  # money-free


def _drift(
    states: np.ndarray, deviation: np.ndarray, known: np.ndarray, settled: np.ndarray, setting: Setting
) -> np.ndarray:
    """The cumulative sum with this window in it; then learn the spread and the offset."""
    since = np.maximum(states["season_windows"], 1)
    spread = np.maximum(states["spread"], Stat(0.02))  # money-free
    step = _between(deviation / spread, -_LARGEST, _LARGEST) - Stat(_ALLOWED)
    drifted = np.where(settled, _between(states["drifted"] + step, 0, _MOST), Stat(0))
    states["drifted"] = drifted
    size = np.abs(deviation)
    size = np.where(since > 12, np.minimum(size, 3 * spread), size)  # an incident must not hide behind its own spread
    learned = states["spread"] + _rate(setting.tail_memory, since) * (size - states["spread"])
    states["spread"] = np.where(known, learned, Stat(0))
    bounded = _between(deviation, -0.3, 0.3)  # money-free: the first weekend is no decline
    moved = Stat(1 - 0.5 ** (1 / setting.offset_memory)) * bounded  # money-free
    states["offset"] = np.where(known, states["offset"] + moved, Stat(0))
    return drifted


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`np.clip` of statistics, money-free, without its cost of a call."""
    return np.minimum(np.maximum(values, Stat(low)), Stat(high))


def _unit_cost(states: np.ndarray, picos: np.ndarray, units: np.ndarray, setting: Setting) -> np.ndarray:
    """Distance of the log cost of a unit from its slow average (money-free); 0 where no units are known."""
    known = (units > 0) & (picos > 0)
    cost = np.log(np.where(known, picos, 1) / np.maximum(units, 1)).astype(Stat)  # money-free
    before = states["unit_windows"]
    seen = before + known
    level = np.where(before == 0, cost, states["unit_level"])
    distance = np.where(known, cost - level, Stat(0))
    states["unit_level"] = level + _rate(setting.level_memory, np.maximum(seen, 1)) * distance
    states["unit_windows"] = seen
    return distance


@lru_cache
def _latest(size: int, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which slots of a ring hold its latest values, and how many those are (at least 1).

    Row (seen - 1) % size * (size + 1) + min(seen, size) of the first: 1 and 0, float32 (rows, counts, size); row
    min(seen, size) of the second: float32 (size + 1, counts).
    """
    held = np.minimum(np.arange(size + 1)[:, None], np.array(counts))
    age = (np.arange(size)[:, None] - np.arange(size)) % size
    among = age[:, None, None, :] < held[None, :, :, None]
    return among.reshape(-1, len(counts), size).astype(Stat), np.maximum(held, 1).astype(Stat)


def _means_of_latest(ring: np.ndarray, seen: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Means of the latest so many values of a ring that has just taken value number `seen`, or of all there are.

    float32 (n, counts).
    """
    size = ring.shape[1]
    among, held = _latest(size, counts)
    full = np.minimum(seen, size)
    latest = among.take((seen - 1) % size * (size + 1) + full, axis=0)
    latest *= ring[:, None, :]
    return latest.sum(axis=2) / held.take(full, axis=0)


def _surprise(states: np.ndarray, distances: np.ndarray, counts: np.ndarray, setting: Setting) -> np.ndarray:
    """-ln of the probability of each distance, up and down (n, evidence, 2), by the member's tails; then learn them."""
    # Rows of (evidence, direction) in one axis: numpy's inner loops are long then.
    flat = (len(states), 2 * len(EVIDENCE))
    distance = np.empty(flat, Stat)
    np.maximum(distances, Stat(0), out=distance[:, ::2])
    np.maximum(-distances, Stat(0), out=distance[:, 1::2])
    share, count = Stat(setting.tail_share), np.repeat(np.maximum(counts, Stat(1)), 2, axis=1)
    size, quantile, mean = (states[name].reshape(flat).copy() for name in ("size", "quantile", "excess"))
    least = np.maximum(mean, Stat(0.1) * np.maximum(quantile, size)) + Stat(1e-6)  # money-free
    over = distance > quantile
    excess = np.maximum(distance - quantile, Stat(0))
    warm = count > setting.warm
    surprise = np.where(over & warm, excess / least - np.log(share), Stat(0))

    # One wild window may widen a tail, not burst it: what is learned from it is bounded.
    size = size + _rate(setting.tail_memory, count) * (distance - size)
    step = np.maximum(size, Stat(1e-6)) * np.maximum(Stat(0.05), Stat(3) / count)  # money-free
    beyond = _rate(max(1, round(setting.tail_memory * setting.tail_share)), np.maximum(Stat(1), count * share))
    learned = mean + beyond * (np.minimum(excess, Stat(8) * least) - mean)
    whole = states["size"].shape
    states["excess"] = np.where(over, learned, mean).reshape(whole)
    states["quantile"] = np.maximum(quantile + step * (over - share), Stat(0)).reshape(whole)
    states["size"] = size.reshape(whole)
    return surprise.reshape(whole)


def _turn_hours(states: np.ndarray, windows: np.ndarray, setting: Setting) -> None:
    """Close the hour of members whose window begins another one, and look up the season of the hour that begins."""
    per_hour = 3_600 // setting.window_seconds
    hour = windows // per_hour
    before = np.where(states["last"] < 0, hour - 1, states["last"] // per_hour)
    rows = np.flatnonzero(hour != before)
    if not len(rows):
        return
    hours, count = states["hours"], states["hour_count"][rows]  # the hours are not copied: most of a state is they
    median = _hour_median(states["recent"][rows], states["windows"][rows], count)
    hours[rows, before[rows] % _HOURS] = np.where(count > 0, median, _UNKNOWN)
    skipped = np.minimum(hour[rows] - before[rows], _HOURS)
    for at in np.flatnonzero(skipped > 1):  # hours without a window: what stands in their place is five weeks old
        hours[rows[at], (before[rows[at]] + np.arange(1, skipped[at])) % _HOURS] = _UNKNOWN
    states["season"][rows] = _season(hours, rows, hour[rows])
    states["hour_count"][rows] = 0


def _between_hours(season: np.ndarray, windows: np.ndarray, setting: Setting) -> np.ndarray:
    """The season (3, n) at the middle of each window: straight lines between the middles of the hours."""
    per_hour = 3_600 // setting.window_seconds
    offset = ((windows % per_hour + 0.5) / per_hour - 0.5).astype(Stat)  # money-free: -0.5 to 0.5 of an hour
    before, this, after = season
    return this + np.abs(offset) * (np.where(offset < 0, before, after) - this)


def _hour_median(recent: np.ndarray, windows: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Median of the latest `count` windows of a ring, as it is stored: uint16 (n,)."""
    age = (windows.astype(np.int64)[:, None] - 1 - np.arange(_RECENT)) % _RECENT
    inside = np.where(age < count[:, None], recent, Stat(np.inf))
    ordered = np.sort(inside, axis=1)
    index, held = np.arange(len(recent)), np.maximum(count, 1).astype(np.int64)
    middle = (ordered[index, (held - 1) // 2] + ordered[index, held // 2]) / Stat(2)
    return np.rint(np.minimum(middle * Stat(_STEPS), _UNKNOWN - 1)).astype(np.uint16)


def _season(hours: np.ndarray, rows: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """Usual log spend of the hour before, the hour and the hour after: float32 (n, 3), NaN where history is short."""
    hour = hour[:, None] + np.array([-1, 0, 1])
    weekly, weeks = _median_of(hours, rows, hour, 168, WEEKS - 1)
    daily, days = _median_of(hours, rows, hour, 24, 5)
    return np.where(weeks >= 1, weekly, np.where(days >= 2, daily, Stat(np.nan)))


def _median_of(
    hours: np.ndarray, rows: np.ndarray, hour: np.ndarray, apart: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Median of the known ones of `count` past hours `apart` from each of `hour` (n, 3), and how many are known.

    `rows` (n,) are those of `hours`.
    """
    at = (hour[:, :, None] - apart * np.arange(1, count + 1)) % _HOURS
    past = hours[rows[:, None, None], at].reshape(-1, count)
    past.sort(axis=1)  # unknown ones come last
    known = (past != _UNKNOWN).sum(axis=1)
    index, last = np.arange(len(past)), np.maximum(known, 1)
    middle = past[index, (last - 1) // 2].astype(Stat) + past[index, last // 2]
    return (middle / Stat(2 * _STEPS)).reshape(hour.shape), known.reshape(hour.shape)
