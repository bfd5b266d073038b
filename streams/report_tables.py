"""`spendstream report` for people and for machines: the same figures as Rich tables and as JSON."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from streams.periods import Period, Stretch
from streams.report import Breakdown, Comparison, Figures, Report

UNATTRIBUTED = "unattributed"
NAMES = {"provider_model": "provider / model", "api_key_id": "API key"}


def tables(report: Report, names: Mapping[str, str]) -> Iterator[RenderableType]:
    """What a person reads, at 80 columns or more: the periods, then a table a dimension, then what has no price.

    `names`: whom pseudonyms stand for.
    """
    yield _periods(report)
    for breakdown in report.breakdowns:
        yield _breakdown(breakdown, report.period, names)
    yield _without_price(report)


def as_json(report: Report, names: Mapping[str, str]) -> dict[str, Any]:
    """The figures as they are: money and percentages as strings, counts as integers, times in ISO 8601.

    `names`: whom pseudonyms stand for; such a member has a `name` beside it.
    """
    zone = report.zone
    return {
        "as_of": report.now.astimezone(zone).isoformat(timespec="seconds"),
        "timezone": zone.key,
        "currency": "USD",
        "data_since": report.since.astimezone(zone).isoformat() if report.since else None,
        "periods": [{**_period_json(period, zone), **_comparison_json(figures)} for period, figures in report.cards],
        "range": _period_json(report.period, zone),
        "breakdowns": {
            breakdown.dimension: {
                "rows": [{**member_json(row.member, names), **_comparison_json(row.figures)} for row in breakdown.rows],
                "others": {"members": breakdown.others_count, **_comparison_json(breakdown.others)},
                "unattributed": _comparison_json(breakdown.unattributed),
                "total": _comparison_json(breakdown.total),
            }
            for breakdown in report.breakdowns
        },
    }


def member_json(member: str, names: Mapping[str, str]) -> dict[str, str]:
    """A member and, where it is a pseudonym that is known, its name."""
    return {"member": member, "name": names[member]} if member in names else {"member": member}


def money(amount: Decimal | None) -> str:
    """US dollars to the cent, half to even; below a cent to the millionth, so that little is not nothing."""
    if amount is None:
        return "no price"
    digits = "0.000001" if 0 < abs(amount) < Decimal("0.01") else "0.01"
    return f"${amount.quantize(Decimal(digits)):,}".replace("$-", "-$")


def percent(change: Decimal | None) -> Text:
    """A change with its sign: more is red, less is green."""
    if change is None:
        return Text("-", style="dim")
    return Text(f"{change:+,}%", style="red" if change > 0 else "green" if change < 0 else "")


def _periods(report: Report) -> RenderableType:
    table = titled("Spend", f"before: the same stretch of the previous period, in {report.zone.key}")
    table.add_column("", no_wrap=True)
    for title in ("cost", "before", "change", "calls", "tokens"):
        table.add_column(title, justify="right", no_wrap=True)
    for period, figures in report.cards:
        table.add_row(
            period.title,
            money(figures.current.known_cost),
            money(figures.previous.known_cost) if figures.previous else _reach(report, period),
            percent(figures.change(lambda f: f.cost)),
            f"{figures.current.calls:,}",
            f"{figures.current.tokens:,}",
        )
    return table


def _reach(report: Report, period: Period) -> str:
    """Why there is nothing to compare with."""
    if report.since is None or report.since >= period.previous.end:
        return "no earlier data"
    return f"only since {report.since.astimezone(report.zone):%-d %b}"


def _breakdown(breakdown: Breakdown, period: Period, names: Mapping[str, str]) -> RenderableType:
    name = NAMES.get(breakdown.dimension, breakdown.dimension)
    table = titled(f"By {name}", period.title)
    table.add_column(name, overflow="fold", min_width=12)  # the one column that may shrink
    for title in ("cost", "share", "change", "calls", "tokens"):
        table.add_column(title, justify="right", no_wrap=True)
    whole = breakdown.total.current.cost
    for row in breakdown.rows:
        table.add_row(names.get(row.member, row.member), *_cells(row.figures, whole))
    if breakdown.others_count:
        table.add_row(f"{breakdown.others_count} more", *_cells(breakdown.others, whole), style="dim")
    table.add_row(UNATTRIBUTED, *_cells(breakdown.unattributed, whole), style="italic", end_section=True)
    table.add_row("total", *_cells(breakdown.total, whole), style="bold")
    return table


def _cells(figures: Comparison, whole: Decimal) -> list[str | Text]:
    current = figures.current
    share = f"{current.cost * 100 / whole:.1f}%" if whole else "-"
    change = percent(figures.change(lambda f: f.cost))
    return [money(current.known_cost), share, change, f"{current.calls:,}", f"{current.tokens:,}"]


def _without_price(report: Report) -> RenderableType:
    period, figures = max(report.cards, key=lambda card: card[1].current.calls)
    unpriced, partial = figures.current.unpriced_calls, figures.current.partial_calls
    text = Text(f"Calls without a price: {unpriced:,}; priced in part: {partial:,} ({period.title}).")
    if unpriced or partial:
        text.append(" What is missing is in no dollar figure; `spendstream rates explain` says why.")
        text.stylize("yellow")
    return text


def titled(title: str, caption: str) -> Table:
    """A table without rows under a title, with what it is about beside it."""
    heading = Text.assemble((title, "bold"), ("  " + caption, "dim"))
    return Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _stretch_json(stretch: Stretch, zone: ZoneInfo) -> dict[str, str]:
    return {"start": stretch.start.astimezone(zone).isoformat(), "end": stretch.end.astimezone(zone).isoformat()}


def _period_json(period: Period, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "name": period.name,
        "title": period.title,
        **_stretch_json(period.stretch, zone),
        "previous_stretch": _stretch_json(period.previous, zone),
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    return {
        "cost": None if figures.known_cost is None else f"{figures.known_cost:f}",
        "calls": figures.calls,
        "tokens": figures.tokens,
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "unpriced_calls": figures.unpriced_calls,
        "partial_calls": figures.partial_calls,
    }


def _comparison_json(figures: Comparison) -> dict[str, Any]:
    changes = {
        "cost": figures.change(lambda f: f.cost),
        "calls": figures.change(lambda f: f.calls),
        "tokens": figures.change(lambda f: f.tokens),
    }
    return {
        **_figures_json(figures.current),
        "previous": _figures_json(figures.previous) if figures.previous else None,
        "change_percent": {of: None if change is None else str(change) for of, change in changes.items()},
    }
