"""`spendstream audit`"""

import json
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from clickhouse.retry import first_line
from schemas.registry import writer_schemas
from streams.audit import Report, audit
from streams.audit.compare import Tally
from streams.audit.tables import dollars
from streams.audit.windows import Windows
from streams.errors import Unreachable
from streams.kafka import wait_for_brokers
from streams.rates_feed import rates_in_force
from streams.settings import settings

_LEVELS = {"day": "days", "quarter_hour": "quarters", "minute": "minutes"}


def command(
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines; money as strings of US dollars.")] = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the sink to insert what the log holds, and for windows behind.")
    ] = 30.0,
) -> None:
    """Prove that nothing was lost, doubled or priced wrongly.

    Reads all of spend.usage again, one event at a time, with code of its own: it shares with the pipeline the schemas
    and which rate applies to a call, not how events are read, judged, split into buckets, multiplied or rounded.
    Compares what must be there with the raw rows, event by event and to the last digit, and the raw rows with the
    rollups and with the windows that the stream kept. Ends with 0 when everything is equal, with 1 when anything
    differs or is not inserted.

    Rows that were priced under an earlier version of the rates keep their price: they are counted, and are no
    difference. Raw rows whose log is gone (an embedded broker that started empty, records that expired) are checked
    against the rollups only.
    """
    conf = settings()
    wait_for_brokers(conf)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {what: progress.add_task(f"auditing {what}", total=None) for what in ("records", "rollups", "windows")}

        def tell(what: str, done: int, of: int) -> None:
            progress.update(tasks[what], completed=done, total=of)

        try:
            report = audit(conf, rates_in_force(conf), writer_schemas(conf), wait, tell)
        except ClickHouseError as exc:
            said = f"ClickHouse at {conf.clickhouse_url}: {first_line(exc)}"
            raise Unreachable(f"{said}. `spendstream doctor` says more") from exc
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        show(report, Console())
    if not report.ok:
        raise typer.Exit(1)


def show(report: Report, console: Console) -> None:
    """Print a report for a person."""
    found = report.to_json()
    tally = report.tally
    title = f"Audit of log {report.log_id}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("part", "events", "accepted", "repeats", "dead", "lost", "doubled", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for p in report.partitions:
        table.add_row(str(p.number), *_counts(p.records, p.duplicates, sum(p.dead_letters.values()), p.tally))
    table.add_section()
    counts = _counts(found["events"], found["dropped_duplicates"], found["dead_letters"], tally)
    table.add_row("all", *counts, style="bold")
    console.print(table)
    console.print(
        f"cost: oracle {dollars(tally.oracle[-1])} USD, raw rows {dollars(tally.raw[-1])} USD", highlight=False
    )
    for line in _notes(report):
        console.print(line, highlight=False)
    for example in found["examples"]:
        console.print(f"  {example}", style="red", highlight=False)
    unequal = "not everything is inserted yet" if found["pending"] else "there are differences"
    verdict = "everything is equal" if report.ok else unequal
    console.print(
        f"{'OK' if report.ok else 'NOT OK'}: {found['lost']:,} lost, {found['duplicated']:,} duplicated, "
        f"{found['unpriced']:,} unpriced; {verdict}",
        style="bold green" if report.ok else "bold red",
    )


def _counts(records: int, repeats: int, dead: int, tally: Tally) -> list[str]:
    counts = (records, tally.accepted, repeats, dead, tally.lost, tally.duplicated)
    difference = tally.raw[-1] - tally.oracle[-1]
    return [*(f"{count:,}" for count in counts), f"{dollars(difference)} USD" if difference else "none"]


def _notes(report: Report) -> list[str]:
    """What the table does not say, a line each."""
    found = report.to_json()
    lines = []
    for rollup in found["rollups"]:
        same = "equals its raw rows" if not rollup["differing"] else f"differs in {rollup['differing']:,} keys"
        lines.append(
            f"{rollup['table']}: {rollup['calls']:,} calls, {rollup['cost']} USD; "
            f"raw rows {rollup['raw_calls']:,}, {rollup['raw_cost']} USD: {same}"
        )
    if report.windows is not None:
        lines += _windows(report.windows)
    if found["dead_letters_by_reason"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in found["dead_letters_by_reason"].items())
        lines.append(f"dead letters: {reasons}")
    for key, words in (
        ("unexpected", "rows are in ClickHouse that should not be counted"),
        ("differing", "rows differ from what the oracle worked out"),
        ("pending", "records are not inserted yet: are the worker and the sink running? (`spendstream doctor`)"),
        ("undecided", "duplicates or dead letters are told otherwise by the blocks on spend.priced"),
        ("partial", "events are priced in part: some of what they count has no price"),
        ("priced_under_another_version", "rows keep the price of an earlier version of the rates"),
        ("expired", "events are older than raw rows are kept (SPEND_RAW_RETENTION_DAYS)"),
    ):
        if found[key]:
            lines.append(f"{found[key]:,} {words}")
    for log, part in report.gone.items():
        rows = f"{part.rows:,} rows ({dollars(part.costs[-1])} USD)"
        lines.append(f"log {log} is gone: its {rows} are checked against the rollups only")
    before = sum(p.before.rows for p in report.partitions if p.before is not None)
    if before:
        lines.append(f"{before:,} rows are of records that expired from the log: checked against the rollups only")
    return lines


def _windows(windows: Windows) -> list[str]:
    """What the windows are, a line each."""
    if windows.note:
        return [windows.note]
    found = windows.to_json()
    counts = ", ".join(f"{found['levels'][level]['windows']:,} {name}" for level, name in _LEVELS.items())
    same = f"{found['differing']:,} differ from" if found["differing"] else "equal"
    lines = [f"windows: {found['dimensions']} dimensions, {counts}: {same} their raw rows"]
    if found["changing"]:
        lines.append(f"windows: {found['changing']:,} changed while they were compared, and are left out")
    if found["totals_only"]:
        names = ", ".join(found["totals_only"])
        lines.append(f"windows: {names}: more members than SPEND_MEMBERS, so their totals are compared")
    return lines
