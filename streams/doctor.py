"""What `spendstream doctor` looks at: each check says what it found and, where something is wrong, what mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException, TopicPartition

from clickhouse import migrate
from clickhouse.client import connect
from clickhouse.progress import read_progress
from schemas.registry import Registry
from streams.blocks import Header
from streams.errors import SpendError
from streams.kafka import admin, other_retention, read_range, reader, topic_ids, wait_for_brokers, watermarks
from streams.rate_sources import read_rates_file
from streams.settings import Settings
from streams.spend.rates import default_table
from streams.topics import DEAD_LETTER, PRICED, TOPICS, TOTALS, USAGE, retention_of_topics


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `mend` is empty where all is well, or where an earlier check stands in the way."""

    check: str
    found: str
    mend: str = ""
    looked: bool = True


def examine(settings: Settings) -> Iterator[Finding]:
    """Run the checks from the outside in; one that cannot run because an earlier one failed says so."""
    broken: set[str] = set()
    for name, needs, check in _CHECKS:
        missing = broken & set(needs)
        if missing:
            yield Finding(name, f"not looked at: {', '.join(sorted(missing))} first", looked=False)
            continue
        try:
            for finding in check(settings):
                if finding.mend:
                    broken.add(name)
                yield finding
        except (SpendError, ClickHouseError, KafkaException, OSError) as exc:
            broken.add(name)
            yield Finding(name, str(exc).splitlines()[0], "see the message")


def _rates(settings: Settings) -> Iterator[Finding]:
    own = read_rates_file(settings.rates_file) if settings.rates_file else []
    yield Finding("rates", default_table(own).version)


def _broker(settings: Settings) -> Iterator[Finding]:
    wait_for_brokers(settings, seconds=2)
    brokers = admin(settings).list_topics(timeout=10).brokers
    yield Finding("broker", f"{len(brokers)} at {settings.kafka_bootstrap_servers}")


def _topics(settings: Settings) -> Iterator[Finding]:
    found = admin(settings).list_topics(timeout=10).topics
    missing = [t.name for t in TOPICS if t.name not in found]
    if missing:
        yield Finding("topics", f"missing: {', '.join(missing)}", "spendstream topics create")
        return
    usage, priced = len(found[USAGE].partitions), len(found[PRICED].partitions)
    same = usage == priced
    yield Finding(
        "topics",
        f"{USAGE} has {usage} partitions, {PRICED} {priced}",
        "" if same else f"give {PRICED} as many partitions as {USAGE}, before any worker runs",
    )


def _schema(settings: Settings) -> Iterator[Finding]:
    if settings.schema_registry_url is None:
        yield Finding("schema", "no registry: Avro single-object encoding")
        return
    registry = Registry(settings.schema_registry_url)
    yield Finding("schema", f"{registry.count()} subjects in the registry at {registry.address}")


def _database(settings: Settings) -> Iterator[Finding]:
    client = connect(settings)
    yield Finding("database", f"ClickHouse {client.server_version} at {settings.clickhouse_url}")


def _migrations(settings: Settings) -> Iterator[Finding]:
    done = migrate.applied(connect(settings), settings)
    pending = [m for m in migrate.migrations() if m.number not in done]
    yield Finding(
        "migrations",
        f"{len(pending)} not applied" if pending else "all applied",
        "spendstream migrate up" if pending else "",
    )


_DAYS = "_retention_days"


def _retention(settings: Settings) -> Iterator[Finding]:
    """Whether topics and tables keep what they hold for as long as the settings say."""
    others = sorted(other_retention(settings, retention_of_topics(settings)))
    tables = sorted(migrate.other_retention(connect(settings), settings))
    if others:
        said = f"otherwise than SPEND_..._RETENTION_DAYS say: {', '.join(others)}"
        yield Finding("retention", said, "spendstream topics create")
    if tables:
        said = f"otherwise than SPEND_..._RETENTION_DAYS say: {', '.join(tables)}"
        yield Finding("retention", said, "spendstream migrate up")
    if not others and not tables:
        days = [f"{name.removesuffix(_DAYS)} {kept}" for name, kept in settings if name.endswith(_DAYS)]
        yield Finding("retention", f"days: {', '.join(days)}".replace("_", " "))


def _lag(settings: Settings) -> Iterator[Finding]:
    ids = topic_ids(settings, USAGE, PRICED)
    client = connect(settings)
    client.database = settings.clickhouse_database
    unpriced = uninserted = 0
    for partition in admin(settings).list_topics(USAGE, timeout=10).topics[USAGE].partitions:
        usage, priced = _partition_lag(settings, client, ids, partition)
        unpriced += usage
        uninserted += priced
    yield Finding(
        "worker",
        f"{unpriced} events wait for a price",
        "start or add workers: spendstream worker" if unpriced > _many(settings) else "",
    )
    yield Finding(
        "sink",
        f"{uninserted} blocks wait to be inserted",
        "start or add sinks: spendstream sink" if uninserted > 20 else "",
    )


def _windows(settings: Settings) -> Iterator[Finding]:
    """What the windows worker's group has not committed: it commits for whoever watches its lag."""
    consumer = reader(settings, "spendstream-windows")
    behind, known = 0, False
    try:
        for topic in (PRICED, TOTALS):
            partitions = admin(settings).list_topics(topic, timeout=10).topics[topic].partitions
            committed = consumer.committed([TopicPartition(topic, number) for number in partitions], timeout=10)
            for tp in committed:
                start, end = watermarks(consumer, topic, tp.partition)
                known = known or tp.offset >= 0
                behind += end - max(tp.offset, start)
    finally:
        consumer.close()
    if not known:
        yield Finding("windows", "no windows worker has run: budgets and anomalies need one, `spendstream windows`")
        return
    mend = "start or add windows workers: spendstream windows" if behind > 20 * settings.partitions else ""
    yield Finding("windows", f"{behind} blocks and totals wait for the windows worker", mend)


def _many(settings: Settings) -> int:
    return 2 * settings.block_events


def _partition_lag(settings: Settings, client: Client, ids: dict[str, str], partition: int) -> tuple[int, int]:
    """Events beyond the last block, and blocks beyond the sink's progress."""
    consumer = reader(settings)
    try:
        _, usage_end = watermarks(consumer, USAGE, partition)
        start, end = watermarks(consumer, PRICED, partition)
        mark = -1
        if end > start:
            last = next(iter(read_range(consumer, PRICED, partition, end - 1, end)))
            mark = Header.from_kafka(last.headers()).last  # type: ignore[arg-type]
        progress, _ = read_progress(client, ids[PRICED], ids[USAGE], partition)
        return max(0, usage_end - mark - 1), max(0, end - progress.block_offset - 1)
    finally:
        consumer.close()


def _dead_letters(settings: Settings) -> Iterator[Finding]:
    consumer = reader(settings)
    start, end = watermarks(consumer, DEAD_LETTER, 0)
    consumer.close()
    yield Finding("dead letters", f"{end - start}" + (": spendstream dead-letters list" if end > start else ""))


def _unpriced(settings: Settings) -> Iterator[Finding]:
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


_CHECKS: tuple[tuple[str, tuple[str, ...], Callable[[Settings], Iterator[Finding]]], ...] = (
    ("rates", (), _rates),
    ("broker", (), _broker),
    ("topics", ("broker",), _topics),
    ("schema", (), _schema),
    ("database", (), _database),
    ("migrations", ("database",), _migrations),
    ("retention", ("broker", "topics", "database", "migrations"), _retention),
    ("lag", ("broker", "topics", "database", "migrations"), _lag),
    ("windows", ("broker", "topics"), _windows),
    ("dead letters", ("broker", "topics"), _dead_letters),
    ("unpriced", ("database", "migrations"), _unpriced),
)
