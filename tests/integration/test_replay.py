"""Back-up and replay, with the commands that docs/operations.md tells: the same digits as before.

The tests build on each other, in this order, on one stack.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition

from clickhouse.client import connect
from clickhouse.copy_topics import TOPICS
from streams import budgets
from streams.kafka import reader, watermarks
from streams.kafka_rights import COPY_GROUP
from streams.producer import UsageProducer
from streams.sample.generator import generate
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

pytestmark = pytest.mark.stack

# every column of every raw row; sums of the rollups, whose rows merge when they like; the newest of each copy
DIGITS = {
    "usage": "SELECT * FROM {}.usage",
    "usage_15m": "SELECT time, model, workload, customer, pricing_status, sum(calls), sum(input_tokens), "
    "sum(cost_total) FROM {}.usage_15m GROUP BY ALL",
    "members_15m": "SELECT time, dimension, member, sum(calls), sum(cost_total) FROM {}.members_15m GROUP BY ALL",
    "windows": "SELECT * FROM {}.windows FINAL",
    "budgets": "SELECT id, value FROM {}.budgets FINAL",
    "budget_status": "SELECT * FROM {}.budget_status FINAL",
    "alerts": "SELECT id, data FROM {}.alerts FINAL",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    conf = Settings(state_dir=tmp_path_factory.mktemp("replay"), broker=broker, partitions=2, block_seconds=0.1)
    with Stack(on_free_ports(conf)) as running:
        yield running


def digits(conf: Settings) -> dict[str, tuple[int, int]]:
    """Rows, and a sum over all of their digits, of each table."""
    client, name = connect(conf), conf.clickhouse_database
    found = {}
    for table, sql in DIGITS.items():
        count = f"SELECT count(), sum(sipHash64(toString(tuple(*)))) FROM ({sql.format(name)})"
        [(rows, digest)] = client.query(count).result_rows
        found[table] = (rows, digest)
    return found


def copied(conf: Settings) -> bool:
    """Whether the sinks have committed every record of the topics that are copied."""
    consumer = reader(conf, COPY_GROUP)
    try:
        found = consumer.list_topics(timeout=10).topics
        places = [TopicPartition(topic, number) for topic in TOPICS for number in found[topic].partitions]
        ends = [watermarks(consumer, tp.topic, tp.partition)[1] for tp in places]
        return all(tp.offset >= end or end == 0 for tp, end in zip(consumer.committed(places, 10), ends, strict=True))
    finally:
        consumer.close()


def until(condition: Callable[[], bool], what: str, differing: Callable[[], object] = str) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, f"waited for {what}: {differing()}"
        time.sleep(0.2)


def audited(stack: Stack) -> None:
    found = json.loads(stack.run("audit", "--json"))
    assert (found["ok"], found["lost"], found["duplicated"]) == (True, 0, 0)


def send(conf: Settings, seed: int, events: int) -> None:
    with UsageProducer(conf) as producer:
        for keys, values in generate(seed=seed, end=datetime.now(UTC), events=events).encoded():
            producer.send_many(keys, values)


def test_a_backup_that_was_taken_in_mid_stream_is_brought_up_to_date(stack: Stack) -> None:
    said = {"name": "Everything", "scope": "global", "period": "month", "limit_usd": "1.00"}
    budgets.create_budget(stack.settings, said, datetime.now(UTC))
    client = connect(stack.settings)
    send(stack.settings, seed=21, events=2_000)
    until(lambda: client.query("SELECT count() FROM spend.usage").result_rows[0][0] > 0, "the first rows")
    client.command("BACKUP DATABASE spend TO File('in-mid-stream')")
    stack.stop("sink")
    client.command("DROP DATABASE spend SYNC")
    client.command("RESTORE DATABASE spend FROM File('in-mid-stream')")
    stack.run("migrate", "up")
    stack.run("repair")
    stack.start("sink")
    send(stack.settings, seed=22, events=1_000)
    audited(stack)


def test_a_replay_into_an_empty_database_gives_the_same_digits(stack: Stack) -> None:
    stack.stop("windows")
    until(lambda: copied(stack.settings), "the other topics to be copied")
    stack.stop("sink")
    was = digits(stack.settings)
    assert min(rows for rows, _ in was.values()) > 0, was

    stack.settings = stack.settings.model_copy(update={"clickhouse_database": "again"})
    stack.run("migrate", "up")
    stack.start("sink")
    until(lambda: digits(stack.settings) == was, "the same digits", lambda: (digits(stack.settings), was))
    audited(stack)
