"""The report's trends and forecast for people and for machines: the same figures as Rich tables and as JSON."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from streams.report_tables import member_json, money, percent, titled
from streams.report_trends import MonthEnd, Trending
from streams.spend.money import usd
from streams.spend.trend import Trend

_STEADY = 0.05  # a p value below it: the slope is no accident


def tables(trends: list[Trending], month: MonthEnd, names: Mapping[str, str]) -> Iterator[RenderableType]:
    """A table a dimension, rising members first, then the month's end; with each what history is too short for.

    `names`: whom pseudonyms stand for.
    """
    for each in trends:
        yield _trending(each, names)
    for words in dict.fromkeys(each.too_short for each in trends if each.days and each.too_short):
        yield Text(f"{words[0].upper()}{words[1:]}.\n", style="dim")
    yield _month_end(month)


def as_json(trends: list[Trending], month: MonthEnd, names: Mapping[str, str]) -> dict[str, Any]:
    """Money and percentages as strings; what history is too short for is null, and says why."""
    return {
        "trends": {each.dimension: _trending_json(each, names) for each in trends},
        "month_end": _month_json(month),
    }


def _trending(found: Trending, names: Mapping[str, str]) -> RenderableType:
    title = f"Trending {found.dimension}s"
    if not found.days:
        return Text.assemble((title, "bold"), f"  {found.too_short}.")
    table = titled(title, f"{found.days} days to {found.last:%-d %b} and the {found.days} before")
    table.add_column(found.dimension, overflow="fold", min_width=12)
    for heading in ("before", "after", "change", "a day", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in (found.rising, found.falling):
        for each in group:
            table.add_row(names.get(each.member, each.member), *_cells(each))
        table.add_section()
    if not table.row_count:
        table.add_row(Text(f"none changed by {_dollars(found.floor_picos)} or more", style="dim"))
    return table


def _cells(found: Trend) -> list[str | Text]:
    slope = f"{'+' if found.slope > 0 else ''}{_dollars(found.slope)}"
    by_chance = "<0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"
    style = "" if found.p_value < _STEADY else "dim"
    return [
        _dollars(found.previous),
        _dollars(found.current),
        percent(_percent(found.ratio)) if found.ratio is not None else Text("new", style="red"),
        Text(slope, style=style),
        Text(by_chance, style=style),
    ]


def _month_end(found: MonthEnd) -> RenderableType:
    title = f"End of {found.month:%B %Y}"
    if found.forecast is None:
        return Text.assemble((title, "bold"), f"  {found.too_short}.")
    left = "today is its last day" if found.days_left == 1 else f"{found.days_left} days left, today included"
    table = titled(title, left)
    for heading in ("spent so far", "p50: half the chance", "p90: nine of ten", "tried on"):
        table.add_column(heading, justify="right", no_wrap=True)
    made = found.forecast
    table.add_row(
        _dollars(found.spent),
        _dollars(made.p50[-1]),
        _dollars(made.p90[-1]) if made.measured else Text("too few past days", style="dim"),
        f"{made.trials} past days",
    )
    return table


def _trending_json(found: Trending, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "days": found.days or None,
        "until": found.last.isoformat() if found.days else None,
        "floor_usd": usd(found.floor_picos),
        "too_short": found.too_short,
        "rising": [_trend_json(each, names) for each in found.rising],
        "falling": [_trend_json(each, names) for each in found.falling],
    }


def _trend_json(found: Trend, names: Mapping[str, str]) -> dict[str, Any]:
    change = _percent(found.ratio)
    return {
        **member_json(found.member, names),
        "previous_usd": usd(found.previous),
        "current_usd": usd(found.current),
        "change_usd": usd(found.change),
        "change_percent": None if change is None else str(change),
        "slope_usd_per_day": usd(found.slope),
        "p_value": round(found.p_value, 6),
    }


def _month_json(found: MonthEnd) -> dict[str, Any]:
    made = found.forecast
    return {
        "month": f"{found.month:%Y-%m}",
        "days_left": found.days_left,
        "spent_usd": usd(found.spent),
        "p50_usd": usd(made.p50[-1]) if made else None,
        "p90_usd": usd(made.p90[-1]) if made and made.measured else None,
        "trials": made.trials if made else 0,
        "too_short": found.too_short,
    }


def _percent(ratio: Fraction | None) -> Decimal | None:
    return None if ratio is None else Decimal(round(ratio * 1_000)).scaleb(-1)


def _dollars(picos: int) -> str:
    return money(Decimal(picos).scaleb(-12))
