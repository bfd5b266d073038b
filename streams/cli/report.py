"""`spendstream report`"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from clickhouse.client import connect
from streams import periods, report_tables
from streams.errors import SpendError
from streams.report import Report, Rollups
from streams.settings import Settings, settings

# The page's tables and how many members each names.
TABLES: dict[str, int] = {
    "workload": 10,
    "customer": 10,
    "team": 10,
    "provider": 10,
    "provider_model": 15,
    "server": 20,
}
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
) -> None:
    """Show what was spent: each period against the same stretch of the one before, then by whom and on what.

    SPEND_TIMEZONE decides days and months. Calls that name no workload, customer or the like are the row
    "unattributed". Calls without a price are counted, and never as $0.
    """
    conf = settings()
    zone = ZoneInfo(conf.timezone)
    now = datetime.now(UTC)
    wanted = {dimension: TABLES.get(dimension, 20) for dimension in by} if by else TABLES
    report = _report(conf, now, _period(over, first, last, now, zone), wanted, top)
    if as_json:
        print(json.dumps(report_tables.as_json(report), indent=2, ensure_ascii=False))
    else:
        _print(report, Console())


def show(conf: Settings, console: Console, now: datetime, top: int) -> None:
    """Print the report of the last 30 days, `top` members a table."""
    zone = ZoneInfo(conf.timezone)
    _print(_report(conf, now, periods.period("last_30_days", now, zone), TABLES, top), console)


def _report(
    conf: Settings, now: datetime, period: periods.Period, wanted: Mapping[str, int], top: int | None
) -> Report:
    zone = ZoneInfo(conf.timezone)
    rollups = Rollups.of(connect(conf), conf.clickhouse_database)
    cards = [periods.period(name, now, zone) for name in CARDS]
    return Report(
        now,
        zone,
        rollups.since,
        list(zip(cards, rollups.totals(cards), strict=True)),
        period,
        [rollups.breakdown(dimension, period, top or rows) for dimension, rows in wanted.items()],
    )


def _print(report: Report, console: Console) -> None:
    if report.since is None:
        console.print("There is no usage yet: `spendstream produce` sends some, `spendstream demo` invents some.")
    console.print(*report_tables.tables(report), sep="\n")


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
