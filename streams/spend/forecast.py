"""What a period will have cost at its end, with bands, and when a limit is reached. Pure, in whole numbers throughout.

Simple and robust: a level (the median of the last two weeks, weekdays taken out) times a weekday profile (the median
share of each weekday in its week over eight weeks). The bands are not assumed, they are measured: the same method is
applied to past days, and the quantiles of actual to forecast, at the very horizon, correct the forecast (split
conformal prediction, Vovk et al. 2005, on overlapping origins: not an exact guarantee, `backtest` prints what held).
Factors are whole millionths, amounts integers of picodollars; no float is involved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

ONE = 1_000_000  # factors are in millionths
_WEEKS, _LEVEL_DAYS = 8, 14
_ORIGINS = 56  # past days on which the method is tried
_FEW = 8  # fewer trials than this: the band of a short history
_SHORT_HISTORY = (ONE, 1_600_000)  # p50 and p90 as factors where nothing has been learned yet


@dataclass(frozen=True)
class Outlook:
    """What the closed days say about today and the days after it; learned once a day, used for every update of today.

    `expected` is picodollars of each day; `half` and `most` are the factors, in millionths, that make p50 and p90 of
    the spend up to and including each day.
    """

    expected: tuple[int, ...]
    half: tuple[int, ...]
    most: tuple[int, ...]
    trials: int


@dataclass(frozen=True)
class Forecast:
    """Spend at the end of each day from today to the period's end, cumulative from the period's start, picodollars.

    `p50[-1]` and `p90[-1]` are the period's end: in half, and in nine of ten cases, spend stays below. `trials` is how
    many past days the band rests on; under eight the band is a wide guess.
    """

    spent: int
    p50: tuple[int, ...]
    p90: tuple[int, ...]
    trials: int

    @property
    def measured(self) -> bool:
        """Whether p90 was measured on past days; else it is a guess."""
        return self.trials >= _FEW


@dataclass(frozen=True)
class Coverage:
    """How forecasts made on past days held: `below_p50` and `below_p90` of `forecasts` ended below the quantile.

    `error_ppm` is the median absolute error of p50 at the period's end, in millionths of the actual spend.
    """

    forecasts: int
    below_p50: int
    below_p90: int
    error_ppm: int


def learn(daily: Sequence[int], days_left: int) -> Outlook:
    """Learn from the closed days.

    Args:
        daily: picodollars of the closed days before today, oldest first, days without spend as 0.
        days_left: days of the period from today on, today included; at least 1.

    Raises:
        ValueError: `days_left` is below 1.
    """
    if days_left < 1:
        raise ValueError("a forecast needs at least today")
    ratios = _past_ratios(daily, days_left)
    factors = [_quantiles(past, day) for day, past in enumerate(ratios, start=1)]
    half, most = zip(*factors, strict=True)
    return Outlook(tuple(_days(daily, days_left)), half, most, len(ratios[-1]))


def forecast(outlook: Outlook, spent: int, today: int = 0, elapsed_ppm: int = 0) -> Forecast:
    """Forecast to the end of a period; a few operations a day.

    Args:
        outlook: from `learn`.
        spent: picodollars of the period so far, today included.
        today: picodollars of today so far.
        elapsed_ppm: part of today that has passed, millionths.

    Raises:
        ValueError: `elapsed_ppm` is not a part.
    """
    if not 0 <= elapsed_ppm <= ONE:
        raise ValueError("the passed part of today lies between 0 and 1,000,000")
    expected = list(outlook.expected)
    if today and not any(expected):  # the first day ever: what it has spent so far, carried on
        expected = [today * ONE // max(elapsed_ppm, ONE // 24)] * len(expected)
    expected[0] = expected[0] * (ONE - elapsed_ppm) // ONE
    p50: list[int] = []
    p90: list[int] = []
    ahead, at_half, at_most = 0, spent, spent
    for picos, half, most in zip(expected, outlook.half, outlook.most, strict=True):
        ahead += picos
        at_half = max(spent + ahead * half // ONE, at_half)
        at_most = max(spent + ahead * most // ONE, at_half, at_most)
        p50.append(at_half)
        p90.append(at_most)
    return Forecast(spent, tuple(p50), tuple(p90), outlook.trials)


def seconds_to_breach(path: Sequence[int], spent: int, limit: int, seconds_left_today: int) -> int | None:
    """Seconds until a forecast path reaches a limit, straight lines within a day; None: not in this period.

    `path` is `Forecast.p50` or `.p90`; 0 when the limit is reached already.
    """
    if spent >= limit:
        return 0
    before, passed, length = spent, 0, seconds_left_today
    for end in path:
        if end >= limit:
            return passed + length * (limit - before) // (end - before)
        before, passed, length = end, passed + length, 86_400
    return None


def backtest(daily: Sequence[int], days: int = 30, warm: int = 28, left: range | None = None) -> Coverage:
    """Forecast past periods of `days` from each of their days, knowing only what was known, and compare.

    Args:
        daily: picodollars a day, oldest first; periods follow each other from day `warm` on.
        left: days of the period that are left, of the forecasts that count; all of them when left out.

    Raises:
        ValueError: fewer than `warm` + `days` days.
    """
    if len(daily) < warm + days:
        raise ValueError(f"a back-test of {days} days after {warm} needs {warm + days} days, not {len(daily)}")
    total = half = most = 0
    errors = []
    for start in range(warm, len(daily) - days + 1, days):
        actual = sum(daily[start : start + days])
        for now in range(start, start + days):
            if left is not None and start + days - now not in left:
                continue
            made = forecast(learn(daily[:now], start + days - now), sum(daily[start:now]))
            total += 1
            half += actual <= made.p50[-1]
            most += actual <= made.p90[-1]
            errors.append(abs(made.p50[-1] - actual) * ONE // max(actual, 1))
    return Coverage(total, half, most, median_low(errors))


def _days(daily: Sequence[int], count: int) -> list[int]:
    """Expected spend of today and the days after it, `count` of them."""
    profile = _profile(daily)
    recent = daily[-_LEVEL_DAYS:]
    plain = [picos * ONE // max(profile[back % 7], 1) for back, picos in enumerate(reversed(recent), start=1)]
    level = median_low(plain) if plain else 0
    return [level * profile[-ahead % 7] // ONE for ahead in range(count)]


def _profile(daily: Sequence[int]) -> list[int]:
    """Factor of each weekday, by days back from today modulo 7: index 1 is yesterday, 0 today and a week ago."""
    weeks = min(len(daily) // 7, _WEEKS)
    if weeks < 2:
        return [ONE] * 7
    shares: list[list[int]] = [[] for _ in range(7)]
    for week in range(weeks):
        end = len(daily) - 7 * week
        days = daily[end - 7 : end]
        whole = sum(days)
        if whole > 0:
            for back, picos in enumerate(reversed(days), start=1):
                shares[back % 7].append(7 * picos * ONE // whole)
    return [median_low(share) if share else ONE for share in shares]


def _past_ratios(daily: Sequence[int], horizon: int) -> list[list[int]]:
    """For each horizon of 1 to `horizon` days: actual to forecast, millionths, on past days."""
    ratios: list[list[int]] = [[] for _ in range(horizon)]
    for origin in range(max(_LEVEL_DAYS, len(daily) - _ORIGINS), len(daily)):
        expected = _days(daily[:origin], min(horizon, len(daily) - origin))
        ahead = actual = 0
        for day, picos in enumerate(expected):
            ahead, actual = ahead + picos, actual + daily[origin + day]
            if ahead > 0:
                ratios[day].append(actual * ONE // ahead)
    return ratios


def _quantiles(ratios: list[int], horizon: int) -> tuple[int, int]:
    """p50 and p90 of past ratios; with few of them the guess for a short history, never less than what was seen.

    Trials over several days overlap and say less than their number: n of them count as 2 n / horizon independent ones,
    and the fewer those are, the further out p90 lies (to the greatest ratio seen).
    """
    if len(ratios) < _FEW:
        return _SHORT_HISTORY[0], max([_SHORT_HISTORY[1], *ratios])
    ordered = sorted(ratios)
    n = len(ordered)
    independent = max(1, min(n, 2 * n // horizon))
    rank = min(-(-9 * (independent + 1) * n // (10 * independent)), n)
    return ordered[(n - 1) // 2], ordered[rank - 1]
