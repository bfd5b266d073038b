"""`spendstream migrate`"""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clickhouse import migrate
from clickhouse.client import connect
from streams.errors import Halt
from streams.kafka import reader, topic_ids, wait_for_brokers, watermarks
from streams.settings import Settings, settings
from streams.topics import PRICED

app = typer.Typer(
    help="The schema of ClickHouse, step by step: numbered migrations, applied and reversed.", no_args_is_help=True
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the SQL and change nothing.")]


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False) -> None:
    """List the migrations and when each was applied."""
    conf = settings()
    done = migrate.applied(connect(conf), conf)
    rows = [
        {"migration": each.label, "applied_at": done[each.number].at if each.number in done else None}
        for each in migrate.migrations()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("migration", "applied (UTC)")
    for row in rows:
        table.add_row(row["migration"], row["applied_at"] or "not yet")
    Console().print(table)


@app.command()
def up(dry_run: DryRun = False) -> None:
    """Apply what is missing, and bring the tables' retention to the SPEND_..._RETENTION_DAYS settings."""
    conf = settings()
    _say(migrate.up(connect(conf), conf, lambda: undone(conf), dry_run), dry_run, "applied", "nothing to apply")


@app.command()
def down(
    count: Annotated[int, typer.Argument(min=1, help="How many, the last first.")] = 1,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Reverse the last migrations. Their tables and all rows in them are dropped."""
    conf = settings()
    client = connect(conf)
    plan = migrate.down(client, conf, lambda: undone(conf), count, dry_run=True)
    if not dry_run and plan and not yes:
        names = ", ".join(each.label for each, _ in plan)
        typer.confirm(f"Drop all that {names} made in database {conf.clickhouse_database}?", abort=True)
    if not dry_run:
        migrate.down(client, conf, lambda: undone(conf), count)
    _say(plan, dry_run, "reversed", "nothing to reverse")


def undone(conf: Settings) -> str | None:
    """What a sink has still to insert of spend.priced, as a sentence; None when ClickHouse has all of it.

    Raises:
        Unreachable: the broker does not answer, so nobody knows.
    """
    wait_for_brokers(conf, seconds=3)
    try:
        log_id = topic_ids(conf, PRICED)[PRICED]
    except Halt:
        return None  # no topic, no blocks
    progress = connect(conf).query(
        f"SELECT source_partition, max(block_offset) FROM {conf.clickhouse_database}.progress "
        "WHERE priced_log_id = {log:String} GROUP BY source_partition",
        parameters={"log": log_id},
    )
    inserted = {partition: offset for partition, offset in progress.result_rows}
    consumer = reader(conf)
    try:
        partitions = consumer.list_topics(PRICED, timeout=10).topics[PRICED].partitions
        waiting = 0
        for partition in partitions:
            start, end = watermarks(consumer, PRICED, partition)
            waiting += max(0, end - max(start, inserted.get(partition, -1) + 1))
    finally:
        consumer.close()
    if not waiting:
        return None
    return f"blocks of {PRICED} not in ClickHouse yet: {waiting}. Let `spendstream sink` finish, then stop it"


def _say(plan: list[tuple[migrate.Migration, list[str]]], dry_run: bool, done: str, nothing: str) -> None:
    for migration, statements in plan:
        if dry_run:
            print(f"-- {migration.label}")
            print("\n\n".join(f"{statement};" for statement in statements))
        else:
            print(f"{migration.label}: {done}")
    if not plan:
        print(nothing)
