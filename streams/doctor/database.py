"""What the doctor asks of ClickHouse: server, disks, clock, schema, time zone, reader, models without a price."""

import time
from collections.abc import Iterator

from clickhouse_connect.driver.exceptions import ClickHouseError

from clickhouse import migrate
from clickhouse.client import connect, connect_reader
from clickhouse.retry import first_line
from streams.doctor.finding import Finding
from streams.errors import Unreachable
from streams.settings import Settings

CLOCKS_APART = 60.0  # seconds; events over 5 minutes ahead become dead letters, and budgets' days begin at midnight
_DAYS = "_retention_days"
DISK_SHARE = 0.05  # free; under it merges begin to fail, and with them inserts


def server(settings: Settings) -> Iterator[Finding]:
    """Whether it answers and takes the user."""
    client = connect(settings)
    yield Finding("database", f"ClickHouse {client.server_version} at {settings.clickhouse_url}")


def disks(settings: Settings) -> Iterator[Finding]:
    """Whether there is room."""
    rows = connect(settings).query("SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0")
    for name, free, total in rows.result_rows:
        yield judge_disk(name, free, total)


def judge_disk(name: str, free: int, total: int) -> Finding:
    """A disk by its bytes."""
    return Finding(
        "disk",
        f"{free / 1e9:,.1f} GB of {total / 1e9:,.1f} GB are free on disk {name}",
        "make room before inserts fail: a larger disk, or a smaller SPEND_RAW_RETENTION_DAYS and `spendstream migrate "
        "up`"
        if free < total * DISK_SHARE
        else "",
    )


def parts(settings: Settings) -> Iterator[Finding]:
    """Whether ClickHouse has set parts of a table aside because it could not read them."""
    rows = connect(settings).query(
        "SELECT table, count() FROM system.detached_parts WHERE database = {database:String} "
        "AND startsWith(reason, 'broken') GROUP BY table ORDER BY table",
        parameters={"database": settings.clickhouse_database},
    )
    broken = [f"{count} of {table}" for table, count in rows.result_rows]
    yield Finding(
        "parts",
        f"broken, and set aside with their rows: {', '.join(broken)}" if broken else "none is broken",
        "stop the sinks, `spendstream repair`, start them; A disk is full in docs/operations.md" if broken else "",
    )


def clock(settings: Settings) -> Iterator[Finding]:
    """Whether ClickHouse and this machine agree what time it is."""
    client = connect(settings)
    before = time.time()
    [(micros,)] = client.query("SELECT toUnixTimestamp64Micro(now64(6))").result_rows
    yield judge_clock(micros / 1e6 - (before + time.time()) / 2)


def judge_clock(ahead: float) -> Finding:
    """ClickHouse's clock by the seconds that it is ahead of this machine's."""
    if abs(ahead) <= CLOCKS_APART:
        return Finding("clock", "this machine and ClickHouse agree")
    which = "ahead of" if ahead > 0 else "behind"
    return Finding(
        "clock",
        f"ClickHouse's clock is {abs(ahead):,.0f} s {which} this machine's",
        "set both by NTP, and the producers' as well: events over 5 minutes ahead become dead letters",
    )


def migrations(settings: Settings) -> Iterator[Finding]:
    """Whether the schema is this release's; one of a later release raises and says so."""
    done = migrate.applied(connect(settings), settings)
    pending = [m for m in migrate.migrations() if m.number not in done]
    yield Finding(
        "migrations",
        f"{len(pending)} not applied" if pending else "all applied",
        "spendstream migrate up" if pending else "",
    )


def retention(settings: Settings) -> Iterator[Finding]:
    """Whether tables keep their rows for as long as the settings say."""
    others = sorted(migrate.other_retention(connect(settings), settings))
    if others:
        said = f"otherwise than SPEND_..._RETENTION_DAYS say: {', '.join(others)}"
        yield Finding("retention", said, "spendstream migrate up")
        return
    days = [f"{name.removesuffix(_DAYS)} {kept}" for name, kept in settings if name.endswith(_DAYS)]
    yield Finding("retention", f"days: {', '.join(days)}".replace("_", " "))


def time_zone(settings: Settings) -> Iterator[Finding]:
    """Whether days in the database begin where SPEND_TIMEZONE says."""
    [(told,)] = connect(settings).query(f"SELECT timezone FROM {settings.clickhouse_database}.organisation").result_rows
    same = told == settings.timezone
    yield Finding(
        "time zone",
        f"{told} in the database" + ("" if same else f", SPEND_TIMEZONE is {settings.timezone}"),
        "" if same else f"set SPEND_TIMEZONE={told}; to change it for all: Time zone in docs/operations.md",
    )


def reader(settings: Settings) -> Iterator[Finding]:
    """Whether the dashboards' user is taken, and may only read."""
    try:
        client = connect_reader(settings, seconds=10)
    except Unreachable as exc:
        if settings.reader_password.get_secret_value():
            raise
        yield Finding("reader", f"not looked at, SPEND_READER_PASSWORD is not set here ({exc})", looked=False)
        return
    try:
        client.command("INSERT INTO usage SELECT * FROM usage WHERE 0")  # no row, whoever may
    except ClickHouseError as exc:
        refused = getattr(exc, "code", None) in (164, 497)  # READONLY, ACCESS_DENIED
        yield Finding(
            "reader",
            f"{settings.reader_user} may only read" if refused else first_line(exc),
            "" if refused else "see the message",
        )
        return
    yield Finding(
        "reader",
        f"{settings.reader_user} may write",
        "SPEND_READER_USER must be a user who may only read: deploy/clickhouse/users.d/reader.xml makes one",
    )


def unpriced(settings: Settings) -> Iterator[Finding]:
    """Models without a price, those of most calls."""
    rows = connect(settings).query(
        f"SELECT provider, model, sum(calls) AS n FROM {settings.clickhouse_database}.usage_15m "
        "WHERE pricing_status != 'priced' GROUP BY provider, model ORDER BY n DESC LIMIT 5"
    )
    for provider, model, calls in rows.result_rows:
        yield Finding(
            "unpriced",
            f"{calls} calls of {provider} {model}",
            f"spendstream rates explain {provider} {model}, then spendstream rates set",
        )
