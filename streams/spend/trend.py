"""Trends: how much a member's spend changed over a range, and whether it really rises or falls. Pure.

The change is against the stretch of the same length before, exact. The slope over both is robust: the median of the
slopes between all pairs of days (H. Theil 1950, P. K. Sen 1968), with its significance by Kendall's rank test (Mann
1945). From three weeks on only days of the same weekday are compared with each other (Hirsch, Slack and Smith 1982), so
that a weekend is no trend. Money is integers of picodollars; probabilities are statistics, money-free.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from statistics import median

_SEASON = 7
_SEASONAL_FROM = 21  # days


@dataclass(frozen=True)
class Trend:
    """Spend of a range and of the range before it, picodollars.

    `slope`, over both ranges, is picodollars a day a day. `p_value` is the probability of so steady a rise or fall by
    chance, two-sided; 1 when there are too few days to say.
    """

    member: str
    previous: int
    current: int
    slope: int
    p_value: float  # money-free

    @property
    def change(self) -> int:
        return self.current - self.previous

    @property
    def ratio(self) -> Fraction | None:
        """Change as a part of the range before; None when nothing was spent then."""
        return Fraction(self.change, self.previous) if self.previous > 0 else None


def measure(member: str, daily: Sequence[int], days: int) -> Trend:
    """The trend over the last `days` of a member's daily spend, against the `days` before.

    Args:
        daily: picodollars of each day, oldest first, days without spend as 0. Days before the first are nothing spent
            for the change, and unknown for the slope.

    Raises:
        ValueError: `days` is not above zero.
    """
    if days < 1:
        raise ValueError("a range has at least one day")
    known = list(daily[-2 * days :])
    return Trend(member, sum(known[:-days]), sum(known[-days:]), slope(known), significance(known))


def rank(trends: Iterable[Trend], floor_picos: int) -> tuple[list[Trend], list[Trend]]:
    """Rising and falling members, the greatest change in percent first.

    A member counts when its change is worth the floor at least, so that pennies do not lead. What was not there before
    has no percentage: it stands before the others, by its spend.
    """
    worth = [trend for trend in trends if abs(trend.change) >= max(floor_picos, 1)]
    rising = [trend for trend in worth if trend.change > 0]
    falling = [trend for trend in worth if trend.change < 0]
    rising.sort(key=lambda t: (t.ratio is not None, -(t.ratio or 0), -t.change, t.member))
    falling.sort(key=lambda t: (t.ratio or 0, t.change, t.member))
    return rising, falling


def slope(values: Sequence[int]) -> int:
    """Theil and Sen's slope in whole picodollars a day, rounded half-even; 0 for fewer than two days."""
    slopes = [Fraction(values[j] - values[i], j - i) for i, j in _pairs(len(values))]
    return round(median(slopes)) if slopes else 0


def significance(values: Sequence[int]) -> float:  # money-free
    """Two-sided p-value of Kendall's test for a trend, with the correction for ties; 1 for fewer than four days."""
    if len(values) < 4:
        return 1.0  # money-free
    score = sum((values[j] > values[i]) - (values[j] < values[i]) for i, j in _pairs(len(values)))
    variance = Fraction(sum((_variance(group) for group in _seasons(values)), 0), 18)
    if not variance or not score:
        return 1.0  # money-free
    z = (abs(score) - 1) / math.sqrt(variance)  # money-free: continuity correction
    return math.erfc(z / math.sqrt(2))


def _variance(values: Sequence[int]) -> int:
    """18 times the variance of Kendall's score, ties corrected (M. G. Kendall 1975)."""
    n = len(values)
    ties = [values.count(value) for value in set(values)]
    return n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)


def _pairs(n: int) -> Iterable[tuple[int, int]]:
    """Days that are compared: all pairs, or those of the same weekday once there are three weeks."""
    step = _SEASON if n >= _SEASONAL_FROM else 1
    return ((i, j) for i, j in combinations(range(n), 2) if (j - i) % step == 0)


def _seasons(values: Sequence[int]) -> list[list[int]]:
    step = _SEASON if len(values) >= _SEASONAL_FROM else 1
    return [list(values[start::step]) for start in range(step)]
