"""What the doctor looks at of the flow: what waits for a worker, a sink or a windows worker, and dead letters."""

from collections.abc import Iterator

from clickhouse_connect.driver.client import Client
from confluent_kafka import TopicPartition

from clickhouse.client import connect
from clickhouse.progress import read_progress
from streams.blocks import Header
from streams.budgets import topic_budgets
from streams.doctor.finding import Finding
from streams.kafka import admin, read_range, reader, topic_ids, watermarks
from streams.kafka_groups import group_members
from streams.kafka_rights import PRICE_GROUP, SINK_GROUP, WINDOWS_GROUP
from streams.settings import Settings
from streams.topics import DEAD_LETTER, PRICED, TOTALS, USAGE

_MANY_BLOCKS = 20


def lag(settings: Settings) -> Iterator[Finding]:
    """What waits to be priced, and to be inserted."""
    ids = topic_ids(settings, USAGE, PRICED)
    client = connect(settings)
    client.database = settings.clickhouse_database
    unpriced = uninserted = 0
    for partition in admin(settings).list_topics(USAGE, timeout=10).topics[USAGE].partitions:
        usage, priced = _partition_lag(settings, client, ids, partition)
        unpriced += usage
        uninserted += priced
    running = group_members(settings, PRICE_GROUP, SINK_GROUP)
    yield _waiting("worker", unpriced, "events wait for a price", 2 * settings.block_events, running[PRICE_GROUP])
    yield _waiting("sink", uninserted, "blocks wait to be inserted", _MANY_BLOCKS, running[SINK_GROUP])


def _waiting(process: str, count: int, what: str, many: int, running: int) -> Finding:
    """`count` of something waits for a process, of which so many run; up to `many` are no cause for worry."""
    mend = ""
    if count and not running:
        mend = f"start one: spendstream {process}; if one ended, its log says why (docs/operations.md)"
    elif count > many:
        mend = f"start more, up to one a partition: spendstream {process}"
    return Finding(process, f"{count} {what}, {running or 'none'} run{'s' if running == 1 else ''}", mend)


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


def windows(settings: Settings) -> Iterator[Finding]:
    """What the windows workers' group has not committed: it commits for whoever watches its lag."""
    consumer = reader(settings, WINDOWS_GROUP)
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
    running = group_members(settings, WINDOWS_GROUP)[WINDOWS_GROUP]
    budgets = len(topic_budgets(settings))
    if known or running:
        many = _MANY_BLOCKS * settings.partitions
        yield _waiting("windows", behind, "blocks and totals wait for the windows worker", many, running)
    elif budgets:
        yield Finding(
            "windows",
            f"no windows worker has run, and nobody watches the budgets ({budgets})",
            "start one: spendstream windows",
        )
    else:
        yield Finding("windows", "no windows worker has run: budgets and anomalies need one, `spendstream windows`")


def dead_letters(settings: Settings) -> Iterator[Finding]:
    """How many records could not be counted."""
    consumer = reader(settings)
    try:
        start, end = watermarks(consumer, DEAD_LETTER, 0)
    finally:
        consumer.close()
    yield Finding("dead letters", f"{end - start}" + (": spendstream dead-letters list" if end > start else ""))
