"""`spendstream report`"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from clickhouse.client import connect
from streams import periods, report_tables, report_trend_tables
from streams.errors import SpendError
from streams.pseudonyms import names_to_show
from streams.report import Report, Rollups
from streams.report_trends import DIMENSIONS, MonthEnd, Trending, month_end, trending
from streams.settings import Settings, settings
from streams.spend.money import PICOS

# The page's tables and how many members each names.
TABLES: dict[str, int] = {
    "workload": 10,
    "customer": 10,
    "team": 10,
    "provider": 10,
    "provider_model": 15,
    "server": 20,
}
TRENDING = 5  # members that rise, and that fall
FLOOR = "10"
CARDS = ("month_to_date", "quarter_to_date", "year_to_date", "last_7_days", "last_14_days", "last_30_days")


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Exact figures for machines, money as strings.")] = False,
    top: Annotated[int | None, typer.Option(min=1, help="Members that each table names.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Only these tables: workload, customer, user, region, tags.<key>, ... May be repeated."),
    ] = None,
    over: Annotated[
        str, typer.Option("--range", help=f"Time of the tables: {', '.join(periods.TITLES)}.")
    ] = "last_30_days",
    first: Annotated[str | None, typer.Option("--from", help="Instead of --range: first day, YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD; today if left out.")] = None,
    floor: Annotated[str, typer.Option(help="Dollars that a change must be worth to be a trend.")] = FLOOR,
) -> None:
    """Show what was spent: each period against the same stretch of the one before, by whom and on what, what rises and
    falls, and what the month will have cost.

    SPEND_TIMEZONE decides days and months. Calls that name no workload, customer or the like are the row
    "unattributed". Calls without a price are counted, and never as $0.
    """
    conf = settings()
    zone = ZoneInfo(conf.timezone)
    now = datetime.now(UTC)
    wanted = {dimension: TABLES.get(dimension, 20) for dimension in by} if by else TABLES
    period = _period(over, first, last, now, zone)
    least = _picos(floor)
    rollups = Rollups.of(connect(conf), conf.clickhouse_database)
    report = _report(rollups, now, zone, period, wanted=wanted, top=top)
    trends = _trends(rollups, now, zone, period, top=top or TRENDING, floor_picos=least)
    names = _names(conf)
    if as_json:
        found = report_tables.as_json(report, names) | report_trend_tables.as_json(*trends, names)
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(report, trends, names, Console())


def show(conf: Settings, console: Console, now: datetime, top: int) -> None:
    """Print the report of the last 30 days, `top` members a table."""
    zone = ZoneInfo(conf.timezone)
    period = periods.period("last_30_days", now, zone)
    rollups = Rollups.of(connect(conf), conf.clickhouse_database)
    trends = _trends(rollups, now, zone, period, top=min(top, TRENDING), floor_picos=_picos(FLOOR))
    _print(_report(rollups, now, zone, period, wanted=TABLES, top=top), trends, _names(conf), console)


def _report(
    rollups: Rollups,
    now: datetime,
    zone: ZoneInfo,
    period: periods.Period,
    *,
    wanted: Mapping[str, int],
    top: int | None,
) -> Report:
    cards = [periods.period(name, now, zone) for name in CARDS]
    return Report(
        now,
        zone,
        rollups.since,
        list(zip(cards, rollups.totals(cards), strict=True)),
        period,
        [rollups.breakdown(dimension, period, top or rows) for dimension, rows in wanted.items()],
    )


def _trends(
    rollups: Rollups, now: datetime, zone: ZoneInfo, period: periods.Period, *, top: int, floor_picos: int
) -> tuple[list[Trending], MonthEnd]:
    found = [
        trending(rollups, dimension, period, now, zone, top=top, floor_picos=floor_picos) for dimension in DIMENSIONS
    ]
    return found, month_end(rollups, now, zone)


def _names(conf: Settings) -> dict[str, str]:
    """Whom pseudonyms stand for. The figures are there without the broker: then they are under the pseudonyms."""
    try:
        return names_to_show(conf)
    except SpendError as exc:
        typer.echo(f"spendstream: pseudonyms are shown without their names: {exc}", err=True)
        return {}


def _print(report: Report, trends: tuple[list[Trending], MonthEnd], names: Mapping[str, str], console: Console) -> None:
    if report.since is None:
        console.print("There is no usage yet: `spendstream produce` sends some, `spendstream demo` invents some.")
    console.print(*report_tables.tables(report, names), *report_trend_tables.tables(*trends, names), sep="\n")


def _picos(dollars: str) -> int:
    """Raises SpendError for what is no amount."""
    try:
        amount = Decimal(dollars.removeprefix("$"))
        if not 0 <= amount < 10**12:
            raise ValueError
    except (InvalidOperation, ValueError):
        raise SpendError(f"--floor {dollars}: this is not an amount in dollars such as 10 or 2.50") from None
    return int(amount * PICOS)


def _period(over: str, first: str | None, last: str | None, now: datetime, zone: ZoneInfo) -> periods.Period:
    try:
        if first is None:
            if last is not None:
                raise SpendError("--to needs --from")
            return periods.period(over, now, zone)
        end = date.fromisoformat(last) if last else now.astimezone(zone).date()
        return periods.custom(date.fromisoformat(first), end, zone)
    except KeyError:
        raise SpendError(f"--range {over}: there are {', '.join(periods.TITLES)}") from None
    except ValueError as exc:
        raise SpendError(f"--from, --to: {exc}") from exc
