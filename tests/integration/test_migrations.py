"""Migrations on the real engine: applied, reversed, compared; tokens count once in the raw table and in every view."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import NewTopic
from priced_rows import Row, embedded_broker, embedded_clickhouse, insert, row

from clickhouse import dangling_tokens, migrate
from clickhouse.client import connect
from clickhouse.insert_settings import COPY_SETTINGS, INSERT_SETTINGS
from clickhouse.migrate import migrations, statements
from clickhouse.progress import Progress, read_progress, write_progress
from clickhouse.replicas import WRITE_SETTINGS
from schemas.priced import priced_arrow
from streams.cli.migrate import undone
from streams.errors import SpendError, Unreachable
from streams.kafka import admin, block_producer, topic_ids
from streams.ports import free_port
from streams.settings import Settings
from streams.topics import PRICED

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)
FINISH = "Let `spendstream sink` finish, then stop it"
_MADE = [
    {"migrations"},
    {"usage"},
    {"usage_15m", "usage_15m_view", "members_15m", "members_15m_view"},
    {"progress"},
    {"windows", "alerts", "budgets", "budget_status", "deliveries"},
    {"organisation"},
    {"health"},
    {"planned"},
    set(),
]
TABLES_AFTER = [set[str]().union(*_MADE[: number + 1]) for number in range(len(_MADE))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_clickhouse(tmp_path_factory.mktemp("migrations")) as settings:
        yield settings


@pytest.fixture
def conf(server: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings with a database of the test's own."""
    name = re.sub(r"\W", "_", request.node.name)[:60]
    return server.model_copy(update={"clickhouse_database": name})


@pytest.fixture
def client(server: Settings) -> Client:
    return connect(server)


def nothing_undone() -> str | None:
    return None


def schema(client: Client, conf: Settings) -> dict[str, str]:
    found = client.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}",
        parameters={"database": conf.clickhouse_database},
    )
    return {name: query for name, query in found.result_rows}


def counted(client: Client, conf: Settings) -> dict[str, tuple[int, Decimal]]:
    """Calls and cost in the raw table and in each view's target."""
    database = conf.clickhouse_database
    return {
        what: client.query(f"SELECT toInt64({calls}), sum(cost_total) FROM {database}.{what}").result_rows[0]
        for what, calls in (
            ("usage", "count()"),
            ("usage_15m", "sum(calls)"),
            ("members_15m WHERE dimension = 'user'", "sum(calls)"),
        )
    }


def once(calls: int, cost: str) -> dict[str, tuple[int, Decimal]]:
    return dict.fromkeys(("usage", "usage_15m", "members_15m WHERE dimension = 'user'"), (calls, Decimal(cost)))


def block_over_months() -> list[Row]:
    """Six calls, the latest 150 days late: as many months, as many parts."""
    return [row(n, NOW - timedelta(days=30 * n), Decimal("0.000000000001") * (n + 1)) for n in range(6)]


def test_up_makes_everything_and_again_does_nothing(client: Client, conf: Settings) -> None:
    assert [each.label for each, _ in migrate.up(client, conf, nothing_undone)] == [each.label for each in migrations()]
    assert schema(client, conf).keys() == TABLES_AFTER[-1]
    assert migrate.up(client, conf, nothing_undone) == []
    assert {n: was.digest for n, was in migrate.applied(client, conf).items()} == {
        m.number: m.digest for m in migrations()
    }


def test_each_migration_is_reversed_and_applied_again_to_the_same_schema(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    whole = schema(client, conf)
    for left in reversed(range(len(migrations()))):
        migrate.down(client, conf, nothing_undone)
        assert schema(client, conf).keys() == TABLES_AFTER[left]
        assert migrate.applied(client, conf).keys() == set(range(1, left + 1))
    migrate.up(client, conf, nothing_undone)
    assert schema(client, conf) == whole


def test_the_organisation_follows_its_setting(client: Client, conf: Settings) -> None:
    def told() -> str:
        return str(client.command(f"SELECT timezone FROM {conf.clickhouse_database}.organisation"))

    migrate.up(client, conf, nothing_undone)
    assert told() == "UTC"
    assert migrate.up(client, conf.model_copy(update={"timezone": "Asia/Kathmandu"}), nothing_undone) == []
    assert told() == "Asia/Kathmandu"


def test_a_dry_run_changes_nothing(client: Client, conf: Settings) -> None:
    plan = migrate.up(client, conf, nothing_undone, dry_run=True)
    assert len(plan) == len(migrations())
    assert schema(client, conf) == {}


def test_the_engine_has_the_columns_of_the_block(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    found = client.query(
        "SELECT name FROM system.columns WHERE database = {database:String} AND table = 'usage' "
        "AND default_kind = '' ORDER BY position",
        parameters={"database": conf.clickhouse_database},
    )
    assert [name for (name,) in found.result_rows] == priced_arrow().names


def test_an_edited_migration_is_refused(client: Client, conf: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.up(client, conf, nothing_undone)
    first, *others = migrations()
    edited = dataclasses.replace(first, up=first.up.replace("bloom_filter(0.01)", "bloom_filter(0.02)"))
    monkeypatch.setattr(migrate, "migrations", lambda: (edited, *others))
    with pytest.raises(SpendError, match="0001_usage was edited"):
        migrate.up(client, conf, nothing_undone)


def test_a_database_of_a_later_version_is_refused(
    client: Client, conf: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(client, conf, nothing_undone)
    known = migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: known[:-1])
    with pytest.raises(SpendError, match="does not know"):
        migrate.up(client, conf, nothing_undone)


def test_views_are_not_touched_while_a_sink_has_work_undone(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    insert(client, conf, [row(0, NOW, Decimal("1.5"))], "log:0:0")
    with pytest.raises(SpendError, match="0002_rollups touches views: 3 blocks wait"):
        migrate.down(client, conf, lambda: "3 blocks wait", count=len(migrations()) - 1)
    assert schema(client, conf).keys() == TABLES_AFTER[2]  # later tables and progress went, the views stayed
    assert counted(client, conf) == once(1, "1.5")


def test_without_rows_nobody_asks_what_the_sink_has_undone(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, lambda: "3 blocks wait")
    migrate.down(client, conf, lambda: "3 blocks wait", count=len(migrations()))
    assert schema(client, conf).keys() == TABLES_AFTER[0]


def test_nobody_knows_what_is_undone_while_the_broker_is_away(server: Settings) -> None:
    away = server.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
    with pytest.raises(Unreachable, match="SPEND_KAFKA_BOOTSTRAP_SERVERS"):
        undone(away)


def test_blocks_that_the_sink_has_not_inserted_are_counted(client: Client, conf: Settings) -> None:
    conf = conf.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
    migrate.up(client, conf, nothing_undone)
    with embedded_broker(conf):
        assert undone(conf) is None  # no topic
        topics = admin(conf)
        topics.create_topics([NewTopic(PRICED, 2, 1)])[PRICED].result()
        assert undone(conf) is None
        producer = block_producer(conf)
        for partition in (0, 0, 0, 1):
            producer.produce(PRICED, b"a block", partition=partition)
        producer.flush()
        assert undone(conf) == f"blocks of {PRICED} not in ClickHouse yet: 4. {FINISH}"
        progress = Progress(topic_ids(conf, PRICED)[PRICED], "log", 0, block_offset=1, mark=7, blocks=2)
        client.database = conf.clickhouse_database
        write_progress(client, progress, NOW)
        assert undone(conf) == f"blocks of {PRICED} not in ClickHouse yet: 2. {FINISH}"


def test_progress_of_an_earlier_release_counts_a_token_a_block(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    client.database = conf.clickhouse_database
    written = "INSERT INTO progress (priced_log_id, log_id, source_partition, block_offset, mark, blocks, all_blocks)"
    migrate.down(client, conf, nothing_undone)
    client.command(f"{written} VALUES ('blocks', 'log', 0, 6, 69, 7, 5)")
    migrate.up(client, conf, nothing_undone)
    client.command(f"{written} VALUES ('blocks', 'log', 1, 3, 39, 4, 11)")  # by a sink that still runs
    progress, since = read_progress(client, "blocks", "log", 0)
    assert (progress.blocks, progress.tokens, since) == (7, 7, 6)
    write_progress(client, replace(progress, block_offset=7, blocks=8, tokens=10), NOW)
    assert read_progress(client, "blocks", "log", 0)[1] == 3  # counted before this row was there
    assert read_progress(client, "blocks", "log", 1)[1] == 3


def test_retention_follows_its_setting(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    insert(client, conf, block_over_months(), "log:0:0")
    migrate.up(client, conf.model_copy(update={"raw_retention_days": 90}), nothing_undone)
    assert "TTL toDateTime(time) + toIntervalDay(90)" in schema(client, conf)["usage"]
    assert "level = 'quarter_hour', 90, 3650)" in schema(client, conf)["windows"]
    client.command(f"OPTIMIZE TABLE {conf.clickhouse_database}.usage FINAL")
    # whole months are dropped, so rows stay up to a month longer; the rollups keep theirs
    assert 3 <= counted(client, conf)["usage"][0] <= 4
    assert counted(client, conf)["usage_15m"][0] == 6


def test_every_table_loses_what_is_older_than_its_setting_and_keeps_the_rest(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    database = conf.clickhouse_database
    old, young = NOW - timedelta(days=100), NOW
    insert(client, conf, [row(0, old, Decimal("2")), row(1, young, Decimal("3"))], "log:0:0")
    for table, columns in (
        ("windows", "start, level, version"),
        ("alerts", "time, id, log_id"),
        ("deliveries", "at, alert_id, channel"),
        ("health", "recorded_at, log_id, priced_log_id"),
    ):
        others = "'minute', 1" if table == "windows" else "toString(number), 'x'"
        client.command(
            f"INSERT INTO {database}.{table} ({columns}) "
            f"SELECT now() - toIntervalDay(100 * number), {others} FROM numbers(2)"
        )
    days = {"raw": 30, "rollup": 4000, "minute": 5, "alert": 60, "health": 7}
    shorter = conf.model_copy(update={f"{name}_retention_days": kept for name, kept in days.items()})
    assert migrate.other_retention(client, shorter).keys() == set(migrate.RETENTION)
    migrate.up(client, shorter, nothing_undone)
    assert migrate.other_retention(client, shorter) == {}
    ages = {}
    for table in migrate.RETENTION:
        client.command(f"OPTIMIZE TABLE {database}.{table} FINAL")
        at = {"deliveries": "at", "windows": "start", "health": "recorded_at"}.get(table, "time")
        found = client.query(
            f"SELECT DISTINCT dateDiff('day', {at}, now()) AS age FROM {database}.{table} ORDER BY age"
        )
        ages[table] = [age for (age,) in found.result_rows]
    rollups = {"usage_15m": [0, 100], "members_15m": [0, 100]}
    assert ages == {table: rollups.get(table, [0]) for table in migrate.RETENTION}
    sums = client.query(f"SELECT sum(calls), sum(cost_total) FROM {database}.usage_15m").result_rows
    assert sums == [(2, Decimal("5"))]


def test_retention_that_is_as_set_is_left_alone(
    client: Client, conf: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(client, conf, nothing_undone)
    commanded: list[str] = []
    monkeypatch.setattr(client, "command", lambda sql, **_: commanded.append(sql))
    migrate.up(client, conf, nothing_undone)
    assert not [sql for sql in commanded if sql.startswith("ALTER")]


def test_windows_are_kept_by_their_level(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    windows = f"{conf.clickhouse_database}.windows"
    client.command(
        f"INSERT INTO {windows} (level, start, calls) "
        "SELECT level, now() - toIntervalDay(days), 1 "
        "FROM (SELECT arrayJoin(['minute', 'quarter_hour', 'day']) AS level, arrayJoin([2, 5, 600]) AS days)"
    )
    client.command(f"OPTIMIZE TABLE {windows} FINAL")
    kept = client.query(f"SELECT level, count() FROM {windows} FINAL GROUP BY level ORDER BY level").result_rows
    assert kept == [("day", 3), ("minute", 1), ("quarter_hour", 2)]


def test_a_repeated_token_counts_once_in_the_raw_table_and_in_every_view(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    for _ in range(3):
        insert(client, conf, block_over_months(), "log:0:0")
        insert(client, conf, [row(6, NOW, Decimal("2"))], "log:0:1")
    # 1 + 2 + 3 + 4 + 5 + 6 = 21 picodollars
    assert counted(client, conf) == once(7, "2.000000000021")


def test_a_token_is_remembered_after_parts_have_merged(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    for offset in range(4):
        insert(client, conf, [row(offset, NOW, Decimal("0.25"))], f"log:0:{offset}")
    for table in ("usage", "usage_15m", "members_15m"):
        client.command(f"OPTIMIZE TABLE {conf.clickhouse_database}.{table} FINAL")
    for offset in range(4):
        insert(client, conf, [row(offset, NOW, Decimal("0.25"))], f"log:0:{offset}")
    assert counted(client, conf) == once(4, "1")


def test_the_same_rows_under_another_token_are_other_rows(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    for token in ("log:0:0", "log:1:0", "another-log:0:0"):
        insert(client, conf, [row(0, NOW, Decimal("0.5"))], token)
    assert counted(client, conf) == once(3, "1.5")


def test_a_view_made_again_under_its_name_remembers_its_tokens(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    insert(client, conf, [row(0, NOW, Decimal("0.5"))], "log:0:0")
    view = f"{conf.clickhouse_database}.usage_15m_view"
    made = schema(client, conf)["usage_15m_view"]
    client.command(f"DROP VIEW {view} SYNC")
    client.command(re.sub(r" \(.*?\) AS", " AS", made, count=1, flags=re.DOTALL))
    insert(client, conf, [row(0, NOW, Decimal("0.5"))], "log:0:0")
    assert counted(client, conf) == once(1, "0.5")


def test_an_unattributed_call_is_kept_under_an_empty_name(client: Client, conf: Settings) -> None:
    migrate.up(client, conf, nothing_undone)
    insert(client, conf, [row(0, NOW, None), row(1, NOW, Decimal("3"), workload="search", user="u1")], "log:0:0")
    database = conf.clickhouse_database
    by_workload = client.query(f"SELECT workload, sum(calls), sum(cost_total) FROM {database}.usage_15m GROUP BY ALL")
    assert sorted(by_workload.result_rows) == [("", 1, Decimal(0)), ("search", 1, Decimal(3))]
    by_user = client.query(
        f"SELECT member, sum(calls), sum(unpriced_calls) FROM {database}.members_15m "
        "WHERE dimension = 'user' GROUP BY ALL"
    )
    assert sorted(by_user.result_rows) == [("", 1, 1), ("u1", 1, 0)]


def test_the_engine_knows_every_insert_setting(client: Client) -> None:
    wanted = {*INSERT_SETTINGS, *COPY_SETTINGS, *WRITE_SETTINGS, "alter_sync"}
    wanted -= {"wait_end_of_query"}  # that one is of HTTP
    found = client.query(
        "SELECT name FROM system.settings WHERE name IN {names:Array(String)}", {"names": sorted(wanted)}
    )
    assert {name for (name,) in found.result_rows} == wanted


def test_the_engine_parses_every_statement_for_a_cluster(client: Client, conf: Settings) -> None:
    clustered = conf.model_copy(update={"clickhouse_cluster": "main"})
    for migration in migrations():
        for statement in (*statements(migration.up, clustered), *statements(migration.down, clustered)):
            parsed = client.query("SELECT formatQuery({sql:String})", parameters={"sql": statement}).result_rows[0][0]
            assert "ON CLUSTER main" in parsed.replace("`", "")


def test_a_cluster_that_the_server_does_not_know_is_named_before_anything_is_made(
    client: Client, conf: Settings
) -> None:
    with pytest.raises(SpendError, match=r"SPEND_CLICKHOUSE_CLUSTER: this ClickHouse knows no cluster 'main'"):
        migrate.up(client, conf.model_copy(update={"clickhouse_cluster": "main"}), nothing_undone)
    assert schema(client, conf) == {}


def test_a_token_whose_part_a_kill_prevented_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "clickhouse"
    with embedded_clickhouse(path) as conf:
        client = connect(conf)
        migrate.up(client, conf, nothing_undone)
        for table in ("usage", "usage_15m", "members_15m"):
            client.command(f"SYSTEM STOP MERGES spend.{table}")
        for offset in range(2):
            insert(client, conf, [row(offset, NOW, Decimal("0.5"))], f"log:0:{offset}")
        found = client.query(
            "SELECT path FROM system.parts WHERE database = 'spend' AND table = 'usage' ORDER BY min_block_number"
        )
        last_part = Path(found.result_rows[-1][0])
    assert dangling_tokens.mend(path) == []  # an orderly stop leaves none
    # what SIGKILL leaves between the token's line and the part's rename
    last_part.rename(last_part.with_name("tmp_insert_" + last_part.name))
    assert dangling_tokens.mend(path) == [f"{last_part.parent.name}: {last_part.name}"]
    assert dangling_tokens.mend(path) == []
    with embedded_clickhouse(path) as conf:
        client = connect(conf)
        assert counted(client, conf)["usage"] == (1, Decimal("0.5"))
        for offset in range(2):
            insert(client, conf, [row(offset, NOW, Decimal("0.5"))], f"log:0:{offset}")
        assert counted(client, conf) == once(2, "1")
