"""Baseline and incidents, written plainly: an operation a step, nothing saved. The pipeline's must give the same bits.

`streams/spend/baseline.py` and `anomaly.py` do the same with fewer numpy calls, because a replay of weeks judges few
members in many calls.
"""

import numpy as np

from streams.spend.anomaly import PICOS, Detector, Finding, _finding
from streams.spend.baseline import (
    _ALLOWED,
    _HOURS,
    _LARGEST,
    _MEANS,
    _MOST,
    _RECENT,
    _RECENT_SEASON,
    _SEASON,
    _STEPS,
    _UNIT,
    _UNKNOWN,
    _WINDOW_SEASON,
    EVIDENCE,
    WEEKS,
    Evidence,
    Setting,
    Stat,
    expected_picos,
    log_spend,
)


def observe(
    states: np.ndarray, windows: np.ndarray, picos: np.ndarray, units: np.ndarray, setting: Setting
) -> Evidence:
    if (windows <= states["last"]).any():
        raise ValueError("a window that is not later than the member's latest: each closed window is judged once")
    spend = log_spend(picos, setting.unit_picos).astype(Stat)
    first = states["windows"] == 0
    states["level"] = np.where(first, spend, states["level"])
    _turn_hours(states, windows, setting)

    seen = states["windows"] + 1
    level = states["level"].copy()
    season = states["season"]
    known = ~np.isnan(season).any(axis=1)
    low, high = season.min(axis=1), season.max(axis=1)
    beyond = np.where(known, spend - np.clip(spend, low, high), Stat(0))
    expected = np.where(known, _between_hours(season, windows, setting) + states["offset"], level)
    deviation = spend - expected
    index = np.arange(len(states))
    step = deviation - _mean_of_latest(states["recent_deviation"], states["windows"], _RECENT_SEASON)
    states["recent_deviation"][index, states["windows"] % _RECENT_SEASON] = deviation
    states["recent"][index, states["windows"] % _RECENT] = spend
    states["recent_season"][index, states["windows"] % _RECENT_SEASON] = beyond
    distances = np.column_stack(
        [
            *(_mean_of_latest(states["recent"], seen, count) - level for count in _MEANS),
            _mean_of_latest(states["recent_season"], seen, _RECENT_SEASON),
            step,
            spend - level,
            beyond,
            _unit_cost(states, picos, units, setting),
        ]
    )
    states["season_windows"] += known
    counts = np.repeat(seen[:, None], len(EVIDENCE), axis=1)
    counts[:, [_SEASON, _WINDOW_SEASON]] = states["season_windows"][:, None]
    counts[:, _UNIT] = states["unit_windows"]
    surprise = _surprise(states, distances, counts, setting)
    states["level"] = level + _rate(setting.level_memory, seen) * (spend - level)
    states["hour_count"] += 1
    states["windows"] = seen
    states["last"] = windows
    settled = known & (states["season_windows"] > setting.warm)
    drifted = _drift(states, deviation, known, settled, setting)
    return Evidence(surprise, drifted, expected, settled, setting.cap)


def observe_incidents(
    states: np.ndarray, windows: np.ndarray, picos: np.ndarray, units: np.ndarray, detector: Detector
) -> list[Finding]:
    closed = _close_calm(states, windows, detector)
    policy, learning = detector.policy, detector.learning
    evidence = observe(states["baseline"], windows, picos, units, learning)
    expected = expected_picos(evidence.expected, learning.unit_picos)
    score = np.maximum.reduce(
        [
            evidence.sudden[:, 0] / policy.sudden,
            evidence.dearer[:, 0] / policy.dearer,
            evidence.drifted / policy.drifted,
        ]
    )
    rise = log_spend(picos, learning.unit_picos) - evidence.expected
    excess = np.maximum(picos, 0) - expected
    high = (rise >= np.log1p(policy.least_change)) & (excess >= policy.floor_picos)
    opened = high & (score >= 1) & ~states["open"]
    for name, value in (("since", windows), ("reported", 0), ("score", 0)):
        states[name] = np.where(opened, value, states[name])
    for name in ("expected", "actual"):
        states[name][opened] = 0
    states["published"] &= ~opened
    states["open"] |= opened
    counted = states["open"] & (excess > 0)
    _add(states["expected"], np.where(counted, expected, 0))
    _add(states["actual"], np.where(counted, np.maximum(picos, 0), 0))
    lasts = states["open"] & high
    states["latest"] = np.where(lasts, windows, states["latest"])
    states["score"] = np.where(states["open"], np.maximum(states["score"], score), states["score"])
    dollars = states["actual"][:, 0] - states["expected"][:, 0]
    doubled = dollars >= 2 * np.maximum(states["reported"], 1)
    speaks = lasts & (opened | ~states["published"] | doubled)
    findings = [
        _finding(states, int(row), "updated" if states["published"][row] else "opened", int(windows[row]), detector)
        for row in np.flatnonzero(speaks)
    ]
    return sorted([*closed, *findings], key=lambda finding: finding.position)


def _close_calm(states: np.ndarray, windows: np.ndarray, detector: Detector) -> list[Finding]:
    over = states["open"] & (windows - states["latest"] > detector.policy.calm_windows)
    findings = [
        _finding(states, int(row), "closed", int(windows[row]), detector)
        for row in np.flatnonzero(over & states["published"])
    ]
    states["open"] &= ~over
    states["published"] &= ~over
    return findings


def _add(sums: np.ndarray, picos: np.ndarray) -> None:
    carried = sums[:, 1] + picos % PICOS
    sums[:, 0] += picos // PICOS + carried // PICOS
    sums[:, 1] = carried % PICOS


def _rate(memory: int, seen: np.ndarray) -> np.ndarray:
    return np.maximum(Stat(1.0 - 0.5 ** (1.0 / memory)), (1.0 / seen).astype(Stat))


def _drift(
    states: np.ndarray, deviation: np.ndarray, known: np.ndarray, settled: np.ndarray, setting: Setting
) -> np.ndarray:
    since = np.maximum(states["season_windows"], 1)
    spread = np.maximum(states["spread"], Stat(0.02))
    step = np.clip(deviation / spread, -_LARGEST, _LARGEST).astype(Stat) - Stat(_ALLOWED)
    states["drifted"] = np.where(settled, np.clip(states["drifted"] + step, 0, Stat(_MOST)), Stat(0))
    size = np.abs(deviation)
    size = np.where(since > 12, np.minimum(size, 3 * spread), size)
    learned = states["spread"] + _rate(setting.tail_memory, since) * (size - states["spread"])
    states["spread"] = np.where(known, learned, Stat(0))
    bounded = np.clip(deviation, Stat(-0.3), Stat(0.3))
    moved = Stat(1 - 0.5 ** (1 / setting.offset_memory)) * bounded
    states["offset"] = np.where(known, states["offset"] + moved, Stat(0))
    return states["drifted"].copy()


def _unit_cost(states: np.ndarray, picos: np.ndarray, units: np.ndarray, setting: Setting) -> np.ndarray:
    known = (units > 0) & (picos > 0)
    cost = np.log(np.where(known, picos, 1) / np.maximum(units, 1)).astype(Stat)
    seen = states["unit_windows"] + known
    level = np.where(states["unit_windows"] == 0, cost, states["unit_level"])
    distance = np.where(known, cost - level, Stat(0))
    states["unit_level"] = level + _rate(setting.level_memory, np.maximum(seen, 1)) * distance
    states["unit_windows"] = seen
    return distance


def _mean_of_latest(ring: np.ndarray, seen: np.ndarray, count: int) -> np.ndarray:
    size = ring.shape[1]
    age = (seen[:, None] - 1 - np.arange(size)) % size
    known = np.minimum(seen, count)
    total = np.where(age < known[:, None], ring, Stat(0)).sum(axis=1)
    return total / np.maximum(known, 1).astype(Stat)


def _surprise(states: np.ndarray, distances: np.ndarray, counts: np.ndarray, setting: Setting) -> np.ndarray:
    distance = np.maximum(np.stack([distances, -distances], axis=2), 0).astype(Stat)
    share, count = Stat(setting.tail_share), np.maximum(counts, 1).astype(Stat)[:, :, None]
    size, quantile, mean = states["size"], states["quantile"], states["excess"]
    least = np.maximum(mean, Stat(0.1) * np.maximum(quantile, size)) + Stat(1e-6)
    over = distance > quantile
    excess = np.where(over, distance - quantile, Stat(0))
    warm = count > setting.warm
    surprise = np.where(over & warm, excess / least - np.log(share), Stat(0))

    size = size + _rate(setting.tail_memory, count) * (distance - size)
    step = np.maximum(size, Stat(1e-6)) * np.maximum(Stat(0.05), Stat(3) / count)
    beyond = _rate(max(1, round(setting.tail_memory * setting.tail_share)), np.maximum(1, count * share))
    learned = mean + beyond * (np.minimum(excess, 8 * least) - mean)
    states["size"] = size
    states["quantile"] = np.maximum(quantile + step * (over - share), Stat(0))
    states["excess"] = np.where(over, learned, mean)
    return surprise


def _turn_hours(states: np.ndarray, windows: np.ndarray, setting: Setting) -> None:
    per_hour = 3_600 // setting.window_seconds
    hour = windows // per_hour
    before = np.where(states["last"] < 0, hour - 1, states["last"] // per_hour)
    rows = np.flatnonzero(hour != before)
    if not len(rows):
        return
    some = states[rows]
    index = np.arange(len(rows))
    median = _hour_median(some)
    some["hours"][index, before[rows] % _HOURS] = np.where(some["hour_count"] > 0, median, _UNKNOWN)
    skipped = np.minimum(hour[rows] - before[rows], _HOURS)
    for row in np.flatnonzero(skipped > 1):
        some["hours"][row, (before[rows[row]] + np.arange(1, skipped[row])) % _HOURS] = _UNKNOWN
    some["season"] = _season(some["hours"], hour[rows])
    some["hour_count"] = 0
    states[rows] = some


def _between_hours(season: np.ndarray, windows: np.ndarray, setting: Setting) -> np.ndarray:
    per_hour = 3_600 // setting.window_seconds
    offset = ((windows % per_hour + 0.5) / per_hour - 0.5).astype(Stat)
    other = np.where(offset < 0, season[:, 0], season[:, 2])
    return season[:, 1] + np.abs(offset) * (other - season[:, 1])


def _hour_median(states: np.ndarray) -> np.ndarray:
    age = (states["windows"].astype(np.int64)[:, None] - 1 - np.arange(_RECENT)) % _RECENT
    inside = np.where(age < states["hour_count"][:, None], states["recent"], Stat(np.inf))
    ordered = np.sort(inside, axis=1)
    index, count = np.arange(len(states)), np.maximum(states["hour_count"], 1).astype(np.int64)
    middle = (ordered[index, (count - 1) // 2] + ordered[index, count // 2]) / Stat(2)
    return np.rint(np.minimum(middle * Stat(_STEPS), _UNKNOWN - 1)).astype(np.uint16)


def _season(hours: np.ndarray, hour: np.ndarray) -> np.ndarray:
    medians = np.full((len(hour), 3), np.nan, dtype=Stat)
    for place, shift in enumerate((-1, 0, 1)):
        weekly, weeks = _median_of(hours, hour + shift, 168, WEEKS - 1)
        daily, days = _median_of(hours, hour + shift, 24, 5)
        medians[:, place] = np.where(weeks >= 1, weekly, np.where(days >= 2, daily, np.nan))
    return medians


def _median_of(hours: np.ndarray, hour: np.ndarray, apart: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    at = (hour[:, None] - apart * np.arange(1, count + 1)) % _HOURS
    ordered = np.sort(np.take_along_axis(hours, at, axis=1), axis=1)
    known = (ordered != _UNKNOWN).sum(axis=1)
    index, last = np.arange(len(hour)), np.maximum(known, 1)
    middle = ordered[index, (last - 1) // 2].astype(Stat) + ordered[index, last // 2]
    return middle / Stat(2 * _STEPS), known
