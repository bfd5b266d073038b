"""What rises and falls, and what the month will have cost: the report's trends and forecast, from daily sums.

Days are whole days of the organisation's time zone up to yesterday; today has not yet happened. What history is too
short for is said in words (`too_short`) rather than shown as a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from streams.periods import Period, calendar, midnight
from streams.report import Rollups
from streams.spend import forecast, trend
from streams.spend.forecast import Forecast
from streams.spend.money import PICOS
from streams.spend.trend import Trend

DIMENSIONS = ("workload", "customer")
_SHORTER = (14, 7)  # days of the range, where there is no history for the one that was asked for
_HISTORY = 120  # days that a forecast looks back: eight weeks of trials, each on eight weeks and more
_LEAST = 14  # whole days that a forecast needs


@dataclass(frozen=True)
class Trending:
    """Members of a dimension whose spend rose or fell over `days` days up to `last`, against the `days` before.

    `too_short`: why the range is not the one that was asked for; `days` is 0 where there is none at all. `floor_picos`
    is the least change that counts.
    """

    dimension: str
    days: int
    last: date
    floor_picos: int
    rising: list[Trend]
    falling: list[Trend]
    too_short: str | None


@dataclass(frozen=True)
class MonthEnd:
    """The month that `now` lies in: its spend so far and, unless history is `too_short` for it, at its end."""

    month: date  # its first day
    days_left: int  # today included
    spent: int
    forecast: Forecast | None
    too_short: str | None


def trending(
    rollups: Rollups, dimension: str, period: Period, now: datetime, zone: ZoneInfo, *, top: int, floor_picos: int
) -> Trending:
    """The members of a dimension with the greatest change in percent over a period's whole days.

    Args:
        dimension: a column of usage_15m; calls that bear none are nobody's trend.
        period: its whole days until yesterday are the range.
        top: members to name, rising and falling each.
        floor_picos: changes worth less are left out.
    """
    first = period.stretch.start.astimezone(zone).date()
    end = min(period.stretch.end.astimezone(zone).date(), now.astimezone(zone).date())
    asked = (end - first).days
    if asked < 1:
        return Trending(dimension, 0, end, floor_picos, [], [], "the range has no whole day yet")
    ends_now = period.stretch.end > now
    days = next(
        (d for d in (asked, *(_SHORTER if ends_now else ())) if d <= asked and _reaches(rollups, end, d, zone)), 0
    )
    too_short = None if days == asked else _too_short(rollups, asked, zone)
    if not days:
        return Trending(dimension, 0, end, floor_picos, [], [], too_short)
    daily = _by_member(rollups, dimension, _days_before(end, 2 * days), zone, floor_picos)
    sums = [Trend(member, sum(spent[:days]), sum(spent[days:]), 0, 1) for member, spent in daily.items()]
    rising, falling = (
        [trend.measure(each.member, daily[each.member], days) for each in ranked[:top]]
        for ranked in trend.rank(sums, floor_picos)
    )
    return Trending(dimension, days, end - timedelta(days=1), floor_picos, rising, falling, too_short)


def month_end(rollups: Rollups, now: datetime, zone: ZoneInfo) -> MonthEnd:
    """What the month that `now` lies in will have cost at its end, all calls together."""
    today = now.astimezone(zone).date()
    first, next_first = calendar("month", today)
    known = [day for day in _days_before(today, _HISTORY) if _is_whole(rollups, day, zone)]
    wanted = sorted({*known, *(first + timedelta(days=n) for n in range((today - first).days + 1))})
    sums = _daily(rollups, wanted, zone)
    spent = sum(picos for day, picos in sums.items() if day >= first)
    left = (next_first - today).days
    if len(known) < _LEAST:
        words = f"a forecast needs {_LEAST} whole days of data, there {'is' if len(known) == 1 else 'are'} {len(known)}"
        return MonthEnd(first, left, spent, None, words)
    start, end = midnight(today, zone), midnight(today + timedelta(days=1), zone)
    elapsed = (now - start) * forecast.ONE // (end - start)
    outlook = forecast.learn([sums[day] for day in known], left)
    return MonthEnd(first, left, spent, forecast.forecast(outlook, spent, sums[today], elapsed), None)


def _reaches(rollups: Rollups, end: date, days: int, zone: ZoneInfo) -> bool:
    """Whether data covers twice as many days; what began within the first may just have been quiet before."""
    return rollups.since is not None and rollups.since < midnight(end - timedelta(days=2 * days - 1), zone)


def _too_short(rollups: Rollups, asked: int, zone: ZoneInfo) -> str:
    need = f"{asked} days against the {asked} before need {2 * asked} days of data"
    return f"{need}, there is some since {rollups.since.astimezone(zone):%-d %B}" if rollups.since else need


def _is_whole(rollups: Rollups, day: date, zone: ZoneInfo) -> bool:
    return rollups.since is not None and rollups.since <= midnight(day, zone)


def _days_before(end: date, count: int) -> list[date]:
    return [end - timedelta(days=back) for back in range(count, 0, -1)]


def _daily(rollups: Rollups, days: Sequence[date], zone: ZoneInfo) -> dict[date, int]:
    """Picodollars of each of the days (neighbours, ascending), all calls together."""
    found = _query(rollups, "''", days, zone, "1")
    return dict(zip(days, found.get("", [0] * len(days)), strict=True))


def _by_member(
    rollups: Rollups, dimension: str, days: Sequence[date], zone: ZoneInfo, floor_picos: int
) -> dict[str, list[int]]:
    """Picodollars of each of the days, of members whose second half differs from the first by at least the floor."""
    middle = int(midnight(days[len(days) // 2], zone).timestamp())
    change = f"abs(sumIf(cost, edge >= {middle}) - sumIf(cost, edge < {middle}))"
    floor = Decimal(floor_picos).scaleb(-12)
    return _query(rollups, dimension, days, zone, f"name != '' AND {change} >= toDecimal128('{floor:f}', 12)")


def _query(rollups: Rollups, member: str, days: Sequence[date], zone: ZoneInfo, having: str) -> dict[str, list[int]]:
    edges = [int(midnight(day, zone).timestamp()) for day in [*days, days[-1] + timedelta(days=1)]]
    rows = rollups.client.query(
        f"""
        SELECT name, groupArray(edge), groupArray(cost)
        FROM
        (
            SELECT {member} AS name, roundDown(toUnixTimestamp(time), {{edges:Array(UInt32)}}) AS edge,
                   sum(cost_total) AS cost
            FROM {rollups.database}.usage_15m
            WHERE time >= toDateTime({{first:UInt32}}, 'UTC') AND time < toDateTime({{end:UInt32}}, 'UTC')
            GROUP BY name, edge
        )
        GROUP BY name
        HAVING {having}
        """,
        parameters={"edges": edges, "first": edges[0], "end": edges[-1]},
    ).result_rows
    place = {edge: n for n, edge in enumerate(edges[:-1])}
    found: dict[str, list[int]] = {}
    for name, seen, costs in rows:
        daily = [0] * len(days)
        for edge, cost in zip(seen, costs, strict=True):
            daily[place[edge]] = int(cost * PICOS)
        found[name] = daily
    return found
