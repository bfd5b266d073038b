"""The schema of ClickHouse as numbered migrations, applied and reversed one by one.

A migration is two files, `0001_name.up.sql` and `0001_name.down.sql`: statements that end with `;` at a line's end, in
which `$database`, `$on_cluster`, `$replicated`, `$deduplication`, `$durability`, the time zone and the retention
settings are filled in. What was done is a row in `<database>.migrations`, with the digest of both files, so that a file
edited afterwards is noticed. Every statement can be repeated: a migration that was cut short is finished by running it
again.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from string import Template

from clickhouse_connect.driver.client import Client

from clickhouse.insert_settings import TOKEN_WINDOW
from clickhouse.replicas import require_one_shard
from streams.errors import SpendError
from streams.settings import Settings

# Table -> its TTL as ClickHouse writes it, to follow a setting that is changed later.
RETENTION: dict[str, str] = {
    "usage": "toDateTime(time) + toIntervalDay($raw_retention_days)",
    "usage_15m": "time + toIntervalDay($rollup_retention_days)",
    "members_15m": "time + toIntervalDay($rollup_retention_days)",
    "windows": "start + toIntervalDay(multiIf(level = 'minute', $minute_retention_days, "
    "level = 'quarter_hour', $raw_retention_days, $rollup_retention_days))",
    "alerts": "toDateTime(time) + toIntervalDay($alert_retention_days)",
    "deliveries": "toDateTime(at) + toIntervalDay($alert_retention_days)",
    "health": "toDateTime(recorded_at) + toIntervalDay($health_retention_days)",
}

# Says in a sentence what a sink has still to insert, or None when nothing is left.
Undone = Callable[[], str | None]


@dataclass(frozen=True)
class Migration:
    """One step of the schema; `up` and `down` are the two files' texts, before templating."""

    number: int
    name: str
    up: str
    down: str

    @property
    def digest(self) -> str:
        """SHA-256 of both files, hexadecimal."""
        return hashlib.sha256(f"{self.up}\0{self.down}".encode()).hexdigest()

    @property
    def label(self) -> str:
        """How people call it: 0001_usage."""
        return f"{self.number:04d}_{self.name}"

    @property
    def touches_views(self) -> bool:
        """Whether it makes, changes or drops a materialized view."""
        return re.search(r"\bMATERIALIZED VIEW\b", _without_comments(self.up + self.down)) is not None


@dataclass(frozen=True)
class Applied:
    """A migration that the database has."""

    number: int
    name: str
    digest: str
    at: str  # UTC


@lru_cache
def migrations() -> tuple[Migration, ...]:
    """All migrations that this version knows, by number.

    Raises:
        ValueError: numbers have a gap, or one of the two files is missing.
    """
    files = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in resources.files("clickhouse").joinpath("migrations").iterdir()
        if entry.name.endswith(".sql")
    }
    found = []
    for file_name in sorted(name for name in files if name.endswith(".up.sql")):
        number, _, name = file_name.removesuffix(".up.sql").partition("_")
        found.append(Migration(int(number), name, files[file_name], files[f"{number}_{name}.down.sql"]))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)) or 2 * len(found) != len(files):
        raise ValueError(f"migrations must be numbered 1, 2, 3, ... and have an up and a down file: {sorted(files)}")
    return tuple(found)


def statements(template: str, settings: Settings) -> list[str]:
    """The SQL statements of one file under these settings, comments taken out."""
    cluster = settings.clickhouse_cluster
    deduplication = (
        f"replicated_deduplication_window = {TOKEN_WINDOW}, "
        # as long as spend.priced is kept; ClickHouse's own default is an hour
        f"replicated_deduplication_window_seconds = {settings.log_retention_days * 24 * 3600}"
        if cluster
        else f"non_replicated_deduplication_window = {TOKEN_WINDOW}"
    )
    text = Template(_without_comments(template)).substitute(
        database=settings.clickhouse_database,
        on_cluster="ON CLUSTER `{}`".format(cluster.replace("`", "``")) if cluster else "",
        replicated="Replicated" if cluster else "",
        deduplication=deduplication,
        durability="fsync_after_insert = 1, fsync_part_directory = 1",
        timezone=settings.timezone,
        **{name: days for name, days in settings if name.endswith("_retention_days")},
    )
    text = re.sub(r"(?<=\S) +(?= |$)", "", text, flags=re.MULTILINE)  # what an empty $on_cluster leaves
    return [statement.strip() for statement in re.split(r";\s*$", text, flags=re.MULTILINE) if statement.strip()]


def applied(client: Client, settings: Settings) -> dict[int, Applied]:
    """Migrations that the database has, by number; none when it has no database or no `migrations` table.

    Raises:
        SpendError: one of them was edited since, or is of a later version of spendstream.
    """
    database = settings.clickhouse_database
    exists = client.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'migrations'",
        parameters={"database": database},
    ).result_rows[0][0]
    if not exists:
        return {}
    rows = client.query(
        "SELECT number, argMax(name, step), argMax(digest, step), toString(argMax(at, step)) "
        f"FROM {database}.migrations GROUP BY number HAVING argMax(action, step) = 'up' ORDER BY number"
    ).result_rows
    done = {row[0]: Applied(*row) for row in rows}
    known = {migration.number: migration for migration in migrations()}
    for number, was in done.items():
        if number not in known:
            raise SpendError(
                f"database {database} has migration {number:04d}_{was.name}, which this version does not know: "
                "install the version of spendstream that made it"
            )
        if known[number].digest != was.digest:
            raise SpendError(
                f"migration {known[number].label} was edited after it was applied to database {database}: "
                "restore its files and put the change into a new migration"
            )
    return done


def up(client: Client, settings: Settings, undone: Undone, dry_run: bool = False) -> list[tuple[Migration, list[str]]]:
    """Apply every migration that is missing, in order; bring the retention of rows and the time zone to the settings.

    Args:
        client: a connection to the server.
        settings: database, cluster, retention and time zone.
        undone: asked before a migration that touches views of a table with rows.
        dry_run: only say what would be done.

    Returns:
        The migrations applied (or to apply), each with its statements.

    Raises:
        SpendError: a sink has work undone, an applied migration's files were edited, or the cluster has several shards.
    """
    done = applied(client, settings)
    missing = [migration for migration in migrations() if migration.number not in done]
    plan = [(migration, statements(migration.up, settings)) for migration in missing]
    if dry_run:
        return plan
    if settings.clickhouse_cluster:
        require_one_shard(client, settings.clickhouse_cluster)
    for statement in statements(HISTORY, settings):
        client.command(statement)
    for migration, steps in plan:
        _check_views(client, settings, migration, undone)
        _run(client, settings, migration, steps, "up")
    _follow_retention(client, settings)
    _follow_timezone(client, settings)
    return plan


def down(
    client: Client, settings: Settings, undone: Undone, count: int = 1, dry_run: bool = False
) -> list[tuple[Migration, list[str]]]:
    """Reverse the last `count` migrations, the last first; their tables and rows are gone.

    Arguments, result and errors are those of `up`.
    """
    done = applied(client, settings)
    last = [migration for migration in reversed(migrations()) if migration.number in done][:count]
    plan = [(migration, statements(migration.down, settings)) for migration in last]
    if not dry_run:
        for migration, steps in plan:
            _check_views(client, settings, migration, undone)
            _run(client, settings, migration, steps, "down")
    return plan


HISTORY = """
CREATE DATABASE IF NOT EXISTS $database $on_cluster;
CREATE TABLE IF NOT EXISTS $database.migrations $on_cluster
(
    step UInt64,
    number UInt32,
    name String,
    action LowCardinality(String),
    digest String,
    at DateTime64(3, 'UTC')
)
ENGINE = ${replicated}MergeTree
ORDER BY step
SETTINGS $durability;
"""


def _check_views(client: Client, settings: Settings, migration: Migration, undone: Undone) -> None:
    if migration.touches_views and _has_rows(client, settings.clickhouse_database) and (what := undone()):
        raise SpendError(f"migration {migration.label} touches views: {what}")


def _run(client: Client, settings: Settings, migration: Migration, steps: list[str], action: str) -> None:
    database = settings.clickhouse_database
    for statement in steps:
        client.command(statement)
    client.command(
        f"INSERT INTO {database}.migrations (step, number, name, action, digest, at) "
        f"SELECT (SELECT max(step) + 1 FROM {database}.migrations), "
        "{number:UInt32}, {name:String}, {action:String}, {digest:String}, now64(3)",
        parameters={
            "number": migration.number,
            "name": migration.name,
            "action": action,
            "digest": migration.digest,
        },
        settings={"async_insert": 0},
    )


def _has_rows(client: Client, database: str) -> bool:
    """Whether raw rows are there: a view made or changed now would see only a part of what was inserted."""
    found = client.query(
        "SELECT total_rows FROM system.tables WHERE database = {database:String} AND name = 'usage'",
        parameters={"database": database},
    ).result_rows
    return bool(found and found[0][0])


def other_retention(client: Client, settings: Settings) -> dict[str, str]:
    """The tables that keep their rows for another time than the settings say, and the TTL that those say."""
    tables = client.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}",
        parameters={"database": settings.clickhouse_database},
    ).result_rows
    ddl = {name: query for name, query in tables}
    found = {}
    for table, template in RETENTION.items():
        [wanted] = statements(template, settings)
        kept = re.search(r"\bTTL (.*?) SETTINGS ", ddl.get(table, ""), flags=re.DOTALL)
        if kept and kept[1] != wanted:
            found[table] = wanted
    return found


def _follow_retention(client: Client, settings: Settings) -> None:
    on_cluster = statements("$on_cluster", settings)[0] if settings.clickhouse_cluster else ""
    for table, wanted in other_retention(client, settings).items():
        client.command(f"ALTER TABLE {settings.clickhouse_database}.{table} {on_cluster} MODIFY TTL {wanted}")


def _follow_timezone(client: Client, settings: Settings) -> None:
    [(told,)] = client.query(f"SELECT timezone FROM {settings.clickhouse_database}.organisation").result_rows
    if told != settings.timezone:
        organisation = next(migration for migration in migrations() if migration.name == "organisation")
        for statement in statements(organisation.up, settings):
            client.command(statement)


def _without_comments(sql: str) -> str:
    return "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
