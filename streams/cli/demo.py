"""`spendstream demo`"""

import shutil
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from clickhouse.client import connect
from schemas.registry import write_prefix, writer_schemas
from streams import story
from streams.audit import audit
from streams.budgets import publish
from streams.cli import audit as audit_command
from streams.cli import report as report_command
from streams.cli.up import dashboards_line
from streams.errors import Halt
from streams.producer import UsageProducer
from streams.rates_feed import rates_in_force
from streams.sample.budgets import sample_budgets
from streams.sample.generator import Sample, Truth, generate
from streams.sample.kinds import KINDS
from streams.settings import Settings, settings
from streams.spend.budget import Budget
from streams.supervisor import EVERYTHING, PREVIEW, Stack, on_free_ports

SAMPLE_RATES = Path(__file__).parents[1] / "sample" / "rates.yaml"  # the invented company's own
_PATIENCE_SECONDS = 120.0  # without progress
_AUDITED = {"records": "records audited", "windows": "windows audited"}  # what the audit tells of, and its bar
_SETTINGS = {"partitions": 1}  # detectors judge each five minutes of five weeks, in every partition by itself


def command(
    events: Annotated[int, typer.Option(min=1_000, help="Events to be counted; faults come on top.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Another seed, other traffic of the same company.")] = 1,
    keep: Annotated[
        bool | None,
        typer.Option(
            help="Stay at the end, with the dashboards in the browser, until Ctrl-C.", show_default="in a terminal"
        ),
    ] = None,
) -> None:
    """Send five weeks of an invented company's traffic through the whole pipeline, show what was spent, and prove it.

    Starts the embedded stack on free ports and a fresh folder (SPEND_STATE_DIR/demo), sends sample traffic with all
    that real life includes, waits until all of it is in ClickHouse, prints what became of each kind of record, the
    budgets and alerts, the report and the audit. In a terminal it then stays up, so that the dashboards can be looked
    at in a browser, until Ctrl-C; else it stops the stack. Exits with 0 when every record is accounted for, to the last
    digit.
    """
    console = Console()
    stays = sys.stdin.isatty() and sys.stdout.isatty() if keep is None else keep
    base = settings()
    folder = base.state_dir / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    with (
        Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress,
        Stack(
            on_free_ports(
                base.model_copy(
                    update={"state_dir": folder, **_SETTINGS, "rates_file": base.rates_file or SAMPLE_RATES}
                )
            ),
            parts=(*EVERYTHING, PREVIEW) if stays else EVERYTHING,
            tell=lambda line: progress.console.print(f"[dim]{line}[/dim]"),
        ) as stack,
    ):
        conf = stack.settings
        steps = {"sent": "sent to Kafka", "inserted": "in ClickHouse", **_AUDITED}
        bars = {step: progress.add_task(what, total=None) for step, what in steps.items()}
        now = datetime.now(UTC)
        sample = generate(seed=seed, end=now, events=events)
        for bar in bars.values():
            progress.update(bar, total=sample.truth.records)
        budgets = [Budget.model_validate(said) for said in sample_budgets(sample, now, ZoneInfo(conf.timezone))]
        publish(conf, {budget.id: budget for budget in budgets})
        _send(conf, sample, progress, bars["sent"])
        _await_rows(conf, stack, sample.truth.records, progress, bars["inserted"])

        def tell(what: str, done: int, of: int) -> None:
            if what in _AUDITED:
                progress.update(bars[what], completed=done, total=of)

        # The records are judged while the stream still makes windows of them; then the audit waits for these.
        report = audit(conf, rates_in_force(conf), writer_schemas(conf), _PATIENCE_SECONDS, tell)
        took = time.monotonic() - started
        progress.stop()
        all_there = _summary(conf, sample.truth, console)
        story.show(conf, sample.truth.story, console)
        report_command.show(conf, console, datetime.now(UTC), top=5)
        audit_command.show(report, console)
        console.print(
            f"\n{sample.truth.records:,} records in {took:.0f} s, with the start of the stack and the audit.",
            highlight=False,
        )
        if stays:
            console.print("The stack stays up until Ctrl-C.")
            console.print(dashboards_line(conf), highlight=False)
            with suppress(KeyboardInterrupt):
                stack.wait()
    if not (report.ok and all_there):
        raise typer.Exit(1)


def _send(conf: Settings, sample: Sample, progress: Progress, bar: TaskID) -> None:
    with UsageProducer(conf) as producer:
        for keys, values in sample.encoded(prefix=write_prefix(conf)):
            producer.send_many(keys, values)
            progress.advance(bar, len(keys))


def _await_rows(conf: Settings, stack: Stack, records: int, progress: Progress, bar: TaskID) -> None:
    """Wait until the sink's progress covers every record.

    Raises:
        SpendError: a part of the stack ended.
        Halt: nothing moves.
    """
    client = connect(conf)
    covered, moved = 0, time.monotonic()
    while covered < records:
        stack.check()
        rows = client.query(f"SELECT sum(mark + 1) FROM {conf.clickhouse_database}.progress FINAL").result_rows
        if rows[0][0] > covered:
            covered, moved = rows[0][0], time.monotonic()
        elif time.monotonic() - moved > _PATIENCE_SECONDS:
            raise Halt(
                f"{records - covered} records do not arrive in ClickHouse; the logs are in {conf.state_dir / 'logs'}"
            )
        progress.update(bar, completed=covered)
        time.sleep(0.2)


def _summary(conf: Settings, truth: Truth, console: Console) -> bool:
    """Print how many of each kind were sent and what became of them; whether all of them are accounted for."""
    client = connect(conf)
    database = conf.clickhouse_database
    counted = client.query(
        f"SELECT count(), {', '.join(f'countIf({condition})' for condition in KINDS.values())} FROM {database}.usage"
    ).result_rows[0]
    found = dict(zip(("events", *KINDS), counted, strict=True))
    duplicates, dead = client.query(
        f"SELECT sum(duplicates), sumMap(dead_letters) FROM {database}.progress FINAL"
    ).result_rows[0]
    rows = [("events", truth.events, found["events"], "priced, one row each")]
    rows += [(f"  {kind}", sent, found[kind], "") for kind, sent in truth.kinds.items()]
    rows += [("sent again", truth.duplicates, duplicates, "dropped and counted")]
    rows += [
        (f"dead letters: {reason}", sent, dict(dead).get(reason, 0), "kept in spend.dead-letter")
        for reason, sent in truth.dead_letters.items()
    ]
    table = Table(title="What was sent", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("record")
    table.add_column("sent", justify="right")
    table.add_column("found", justify="right")
    table.add_column("what became of them")
    for name, sent, there, what in rows:
        table.add_row(name, f"{sent:,}", f"{there:,}" if sent == there else f"[red]{there:,}", what)
    console.print(table)
    return all(sent == there for _, sent, there, _ in rows)
