"""The doctor finds what is broken and names the mend: real set-ups, each broken in one way, on one stack.

Where the mend is a command of spendstream's, the command is run and the check has nothing more to say.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from confluent_kafka.admin import NewPartitions
from pydantic import SecretStr

from clickhouse.client import connect
from schemas.usage_event import UsageEvent
from streams import budgets, topics
from streams.doctor import Finding, examine
from streams.errors import SpendError
from streams.kafka import admin
from streams.kafka_topics import alter_topic
from streams.producer import UsageProducer
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack

NOBODY = "127.0.0.1:9"  # the port of `discard`: nothing listens there


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    if broker != "kafka":
        pytest.skip("settings and partitions of topics can be changed on Apache Kafka only")
    conf = Settings(state_dir=tmp_path_factory.mktemp("doctor"), broker=broker, block_events=2, partitions=1)
    with Stack(on_free_ports(conf), parts=("broker", "clickhouse", "topics", "migrate")) as running:
        yield running


def findings(settings: Settings) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine(settings):
        found.setdefault(finding.check, []).append(finding)
    return found


def ill(settings: Settings) -> set[str]:
    return {name for name, said in findings(settings).items() for finding in said if finding.mend}


Break = Callable[[Stack], AbstractContextManager[Settings]]


@dataclass(frozen=True)
class Broken:
    """A set-up: what breaks it, the check that finds it, what it says, and the mend; and the command that mends it."""

    make: Break
    check: str
    found: str
    mend: str
    cure: tuple[str, ...] = ()


def with_settings(**other: object) -> Break:
    """The stack is sound, its settings are not."""

    @contextmanager
    def change(stack: Stack) -> Iterator[Settings]:
        yield stack.settings.model_copy(update=other)

    return change


@contextmanager
def own_rates_with_a_slip(stack: Stack) -> Iterator[Settings]:
    wrong = stack.settings.state_dir / "rates.yaml"
    wrong.write_text("- id: ours\n  provider: openai\n  discont_percent: '5'\n")
    yield stack.settings.model_copy(update={"rates_file": wrong})


@contextmanager
def a_topic_is_missing(stack: Stack) -> Iterator[Settings]:
    client = admin(stack.settings)
    client.delete_topics([topics.PLANNED])[topics.PLANNED].result(10)
    while topics.PLANNED in client.list_topics(timeout=10).topics:
        time.sleep(0.1)
    yield stack.settings


def altered(topic: str, name: str, value: str) -> Break:
    """A topic's setting is another one."""

    @contextmanager
    def change(stack: Stack) -> Iterator[Settings]:
        alter_topic(stack.settings, topic, name, value)
        yield stack.settings

    return change


@contextmanager
def a_move_to_more_partitions_is_half_done(stack: Stack) -> Iterator[Settings]:
    grown = NewPartitions(topics.PRICED, 2)
    client = admin(stack.settings)  # must live until its future is done
    client.create_partitions([grown])[topics.PRICED].result(10)
    time.sleep(0.5)  # a controller acknowledges before its brokers know
    yield stack.settings


@contextmanager
def the_last_migration_is_undone(stack: Stack) -> Iterator[Settings]:
    stack.run("migrate", "down", "--yes")
    yield stack.settings


@contextmanager
def the_database_is_of_a_newer_release(stack: Stack) -> Iterator[Settings]:
    client = connect(stack.settings)
    client.command("INSERT INTO spend.migrations VALUES (99, 99, 'tomorrow', 'up', '', now64(3))")
    yield stack.settings
    client.command("ALTER TABLE spend.migrations DELETE WHERE number = 99", settings={"mutations_sync": 1})


@contextmanager
def events_come_and_no_worker_runs(stack: Stack) -> Iterator[Settings]:
    call = {"source": "gw", "provider": "openai", "request_model": "gpt-5", "operation": "chat"}
    with UsageProducer(stack.settings) as producer:
        for _ in range(3):
            producer.send(UsageEvent(time="2026-11-01T00:00:00Z", **call))  # type: ignore[arg-type]
    yield stack.settings


@contextmanager
def blocks_come_and_no_sink_runs(stack: Stack) -> Iterator[Settings]:
    stack.start("worker")
    while findings(stack.settings)["worker"][0].mend:
        time.sleep(0.2)
    stack.stop("worker")
    yield stack.settings


@contextmanager
def budgets_and_no_windows_worker(stack: Stack) -> Iterator[Settings]:
    said = {"name": "All", "scope": "global", "limit_usd": "100"}
    budget = budgets.create_budget(stack.settings, said, datetime.now(UTC))
    yield stack.settings
    budgets.remove_budget(stack.settings, budget.id)


CONFIGURE = ("topics", "configure")
WRITER = {"reader_user": "default", "reader_password": SecretStr("")}
BROKEN = {
    "own rates with a slip": Broken(own_rates_with_a_slip, "rates", "discont_percent", "see the message"),
    "no broker": Broken(
        with_settings(kafka_bootstrap_servers=NOBODY),
        "broker",
        "no Kafka broker.*SPEND_KAFKA_BOOTSTRAP_SERVERS",
        "see the message",
    ),
    "no ClickHouse": Broken(
        with_settings(clickhouse_url=f"http://{NOBODY}"), "database", "SPEND_CLICKHOUSE_URL", "see the message"
    ),
    "wrong password": Broken(
        with_settings(clickhouse_password=SecretStr("not it")),
        "database",
        "refuses the user 'default': set SPEND_CLICKHOUSE_USER and SPEND_CLICKHOUSE_PASSWORD",
        "see the message",
    ),
    "no schema registry": Broken(
        with_settings(schema_registry_url=f"http://{NOBODY}"), "schema", "SPEND_SCHEMA_REGISTRY_URL", "see the message"
    ),
    "fewer copies than wanted": Broken(
        with_settings(replication=3),
        "replicas",
        "SPEND_REPLICATION is 3, but there is 1 of every topic",
        "docs/operations.md",
    ),
    "rows kept for another time": Broken(
        with_settings(raw_retention_days=90, alert_retention_days=30),
        "retention",
        "RETENTION_DAYS say: alerts, deliveries, usage, windows",
        "^spendstream migrate up$",
    ),
    "another time zone": Broken(
        with_settings(timezone="Europe/Zurich"), "time zone", "UTC in the database", "SPEND_TIMEZONE=UTC"
    ),
    "a reader that is refused": Broken(
        with_settings(reader_password=SecretStr("not it")), "reader", "SPEND_READER_PASSWORD", "see the message"
    ),
    "a reader that may write": Broken(with_settings(**WRITER), "reader", "default may write", r"reader\.xml"),
    "a topic missing": Broken(
        a_topic_is_missing, "topics", "missing: spend.planned", "^spendstream topics create$", ("topics", "create")
    ),
    "priced kept too short": Broken(
        altered(topics.PRICED, "retention.ms", "3600000"),
        "topic settings",
        "spend.priced has retention.ms=3600000, 3024000000 is due: SPEND_..._RETENTION_DAYS say so",
        "^spendstream topics configure$",
        CONFIGURE,
    ),
    "budgets not compacted": Broken(
        altered(topics.BUDGETS, "cleanup.policy", "delete"),
        "topic settings",
        "spend.budgets has cleanup.policy=delete, compact is due",
        "topics configure",
        CONFIGURE,
    ),
    "totals compacted": Broken(
        altered(topics.TOTALS, "cleanup.policy", "compact"),
        "topic settings",
        "spend.totals has cleanup.policy=compact, delete is due",
        "topics configure",
        CONFIGURE,
    ),
    "blocks too large for their topic": Broken(
        altered(topics.PRICED, "max.message.bytes", "1048588"),
        "topic settings",
        "max.message.bytes=1048588, 67108864 is due: a block that is larger would stop the worker",
        "topics configure",
        CONFIGURE,
    ),
    "a leader that lacks records may be elected": Broken(
        altered(topics.USAGE, "unclean.leader.election.enable", "true"),
        "topic settings",
        "acknowledged records could be lost",
        "topics configure",
        CONFIGURE,
    ),
    "a migration not applied": Broken(
        the_last_migration_is_undone, "migrations", "1 not applied", "^spendstream migrate up$", ("migrate", "up")
    ),
    "a database of a newer release": Broken(
        the_database_is_of_a_newer_release, "migrations", "0099_tomorrow.*install the version", "see the message"
    ),
    "no worker": Broken(
        events_come_and_no_worker_runs, "worker", "3 events wait for a price, none run", "start one: spendstream worker"
    ),
    "no sink": Broken(
        blocks_come_and_no_sink_runs, "sink", "[1-3] blocks wait to be inserted", "start one: spendstream sink"
    ),
    "budgets and no windows worker": Broken(
        budgets_and_no_windows_worker, "windows", r"nobody watches the budgets \(1\)", "start one: spendstream windows"
    ),
    "a move half done": Broken(
        a_move_to_more_partitions_is_half_done,
        "partitions",
        "spend.usage has 1 partitions, spend.priced 2",
        "finish it with `spendstream topics grow 2`",
        ("topics", "grow", "2"),
    ),
    "SPEND_PARTITIONS is another": Broken(
        with_settings(), "partitions", "spend.usage has 2 partitions, spend.priced 2", "set SPEND_PARTITIONS=2"
    ),
}


def test_a_sound_set_up_needs_no_mend(stack: Stack) -> None:
    found = findings(stack.settings)
    assert ill(stack.settings) == set()
    assert {"broker", "topic settings", "disk", "clock", "reader", "worker", "sink", "windows"} <= found.keys()
    assert all(finding.looked for said in found.values() for finding in said)
    stack.run("doctor")


@pytest.mark.parametrize("name", BROKEN)
def test_the_doctor_finds_what_is_broken_and_names_the_mend(stack: Stack, name: str) -> None:
    broken = BROKEN[name]
    with broken.make(stack) as settings:
        said = findings(settings)[broken.check]
        assert [finding for finding in said if re.search(broken.found, finding.found)], said
        assert [finding for finding in said if re.search(broken.mend, finding.mend)], said
        if broken.cure:
            stack.run(*broken.cure)
            assert not [finding for finding in findings(settings)[broken.check] if finding.mend == said[0].mend]


def test_what_hangs_on_a_broken_part_is_not_looked_at(stack: Stack) -> None:
    away = stack.settings.model_copy(update={"kafka_bootstrap_servers": NOBODY})
    [lag] = findings(away)["lag"]
    assert not lag.looked and "broker" in lag.found


def test_the_command_ends_with_1_and_says_the_mend(stack: Stack) -> None:
    with pytest.raises(SpendError, match=r"(?s)doctor ended with 1.*SPEND_PARTITIONS=2"):
        stack.run("doctor")


def test_a_log_that_was_grown_by_hand_is_found(stack: Stack) -> None:
    """The last one here: partitions cannot be taken away."""
    client = admin(stack.settings)  # must live until its future is done
    client.create_partitions([NewPartitions(topics.USAGE, 4)])[topics.USAGE].result(10)
    time.sleep(0.5)  # a controller acknowledges before its brokers know
    [found] = findings(stack.settings)["partitions"]
    assert "spend.usage has 4 partitions, spend.priced 2" in found.found
    assert "Grown by hand in docs/operations.md" in found.mend
