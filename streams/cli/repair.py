"""`spendstream repair`"""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clickhouse.repair import Repair, repair
from streams.errors import Unreachable
from streams.kafka import wait_for_brokers
from streams.settings import settings


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is wrong and change nothing.")] = False,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Go on without what expired before it was inserted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
) -> None:
    """Bring ClickHouse to exactly what the blocks on spend.priced say.

    For when the sink halts and names this command, or an audit finds rows lost or doubled. Stop every sink first; the
    worker may go on. It inserts rows that are missing, takes out copies and rows that no block has, makes the rollups
    of wrong months anew from their raw rows, and writes the sink's progress. Killed half-way, run it again.

    Ends with 0 when everything is right; with 1 when something is left that it cannot mend, or when a dry run found
    something wrong; with 3 when it would lose something, or a sink runs.
    """
    conf = settings()
    wait_for_brokers(conf)
    columns = (TextColumn("comparing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=of)

        try:
            found = repair(conf, datetime.now(UTC), tell, accept_gap, dry_run)
        except ClickHouseError as exc:
            why = (str(exc).strip() or type(exc).__name__).splitlines()[0][:300]
            raise Unreachable(f"ClickHouse failed ({why}): run `spendstream repair` again, it goes on") from exc
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        _show(found, dry_run)
    if found.left or (dry_run and found.wrong):
        raise typer.Exit(1)


def _show(found: Repair, dry_run: bool) -> None:
    print(f"{found.blocks:,} blocks with {found.rows:,} rows compared")
    mended = [
        (found.missing, "rows were missing", "inserted"),
        (found.doubled, "rows were there more than once", "the copies taken out"),
        (found.unexpected, "rows are in no block", "deleted"),
        (len(found.rebuilt), "months of rollups had wrong sums", "made anew from their raw rows"),
    ]
    for count, what, done in mended:
        if count:
            print(f"{count:,} {what}" + ("" if dry_run else f": {done}"))
    for table, month in found.rebuilt:
        print(f"  {table} {month // 100}-{month % 100:02d}")
    if found.expired:
        print(f"{found.expired:,} rows have expired since they were inserted (SPEND_RAW_RETENTION_DAYS)")
    for sentence in found.left:
        print(f"left: {sentence}")
    if not found.wrong:
        print("nothing to mend")
    elif dry_run:
        print("nothing was changed: run it without --dry-run")
    if not dry_run:
        print("progress is written: start the sink (`spendstream sink`)")
