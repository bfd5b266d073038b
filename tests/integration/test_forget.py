"""Who a pseudonym stands for is forgotten: on the topic, in the broker's files and in a replay; the sums stay."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from clickhouse.client import connect
from schemas.usage_event import UsageEvent
from streams import topics
from streams.apache_kafka import folder
from streams.budgets import remove_budget
from streams.compacted import put, values
from streams.kafka import read_range, reader, watermarks
from streams.producer import UsageProducer
from streams.pseudonyms import forget, known_names, pseudonym, pseudonyms_of
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports

pytestmark = pytest.mark.stack

KEY = "a key for this test alone"
NAMES = {"customer": ("Harrowgate Airlines", "Pinecrest Hotels"), "user": ("ann@example.com", "bob@example.com")}
GONE, STAYS = (pseudonym("customer", name, KEY.encode()) for name in NAMES["customer"])
NOW = datetime.now(UTC) - timedelta(minutes=1)
TEXTS = [name for names in NAMES.values() for name in names]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("forget"),
        broker=broker,
        partitions=1,
        session_timeout_seconds=2,
        pseudonyms="customer,user",
        pseudonym_key=SecretStr(KEY),
    )
    with Stack(on_free_ports(settings), parts=(*SERVERS, *STEPS, "worker", "sink")) as stack:
        yield stack


def send(conf: Settings, first: int, calls: int) -> None:
    """So many calls, by turns of the two customers and users: 1,000 tokens of gpt-4o each, $0.0025."""
    with UsageProducer(conf) as producer:
        for number in range(first, first + calls):
            producer.send(
                UsageEvent(
                    id=f"call-{number}",
                    source="gw",
                    time=NOW,
                    provider="openai",
                    request_model="gpt-4o",
                    operation="chat",
                    input_tokens=1000,
                    output_tokens=0,
                    customer=NAMES["customer"][number % 2],
                    user=NAMES["user"][number % 2],
                )
            )


CALL = Decimal("2.50") / 1000


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


def counted(conf: Settings) -> int:
    database = conf.clickhouse_database
    return int(connect(conf).query(f"SELECT count() FROM {database}.usage").result_rows[0][0])


def sums(conf: Settings) -> list[tuple[Any, ...]]:
    """Calls and cost of each customer and user, in the raw rows and in both rollups."""
    client, database = connect(conf), conf.clickhouse_database
    return [
        tuple(row)
        for query in (
            f"SELECT customer, user, count(), sum(cost_total) FROM {database}.usage GROUP BY ALL ORDER BY ALL",
            f"SELECT customer, sum(calls), sum(cost_total) FROM {database}.usage_15m GROUP BY ALL ORDER BY ALL",
            f"SELECT member, sum(calls), sum(cost_total) FROM {database}.members_15m "
            "WHERE dimension = 'user' GROUP BY ALL ORDER BY ALL",
        )
        for row in client.query(query).result_rows
    ]


def rows_with_a_name(client: Client, database: str) -> dict[str, int]:
    """Of each table, the rows that have one of the names anywhere."""
    tables = [name for (name,) in client.query(f"SHOW TABLES FROM {database}").result_rows]
    found = {}
    for table in tables:
        query = f"SELECT countIf(multiSearchAny(toString(tuple(*)), {TEXTS})) FROM {database}.{table}"
        found[table] = int(client.query(query).result_rows[0][0])
    assert {"usage", "usage_15m", "members_15m", "windows"} <= set(found)
    return found


def bytes_on(conf: Settings, topic: str) -> bytes:
    """All keys, values and headers that a reader of the topic gets."""
    found = []
    for partition in range(conf.partitions if topic in PARTITIONED else 1):
        consumer = reader(conf)
        start, end = watermarks(consumer, topic, partition)
        for message in read_range(consumer, topic, partition, start, end):
            found += [message.key() or b"", message.value() or b"", repr(message.headers()).encode()]
        consumer.close()
    return b"\n".join(found)


PARTITIONED = {topic.name for topic in topics.TOPICS if topic.partitions is None}


def report(stack: Stack) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(stack.run("report", "--json", "--by", "customer", "--by", "user"))
    return told["breakdowns"]


def test_a_name_is_forgotten_everywhere_and_no_replay_brings_it_back_and_no_sum_changes(stack: Stack) -> None:
    conf = stack.settings
    send(conf, 0, 30)
    until(lambda: counted(conf) == 30, "the rows")

    customers = report(stack)["customer"]["rows"]
    assert {row["name"]: Decimal(row["cost"]) for row in customers} == dict.fromkeys(NAMES["customer"], 15 * CALL)
    assert {row["member"] for row in customers} == {GONE, STAYS}
    assert {name.name for name in known_names(conf).values()} == set(TEXTS)
    held = {topic.name: bytes_on(conf, topic.name) for topic in topics.TOPICS}
    named = [topic for topic, told in held.items() if any(text.encode() in told for text in TEXTS)]
    assert named == [topics.NAMES], "who is who stands on one topic alone"
    assert not any(rows_with_a_name(connect(conf), conf.clickhouse_database).values())
    before = sums(conf)

    named_after = f"{TEXTS[0]} a month"
    stack.run("budgets", "create", named_after, "--scope", "customer", "--member", TEXTS[0], "--limit", "9")
    assert f"customer {TEXTS[0]}" in " ".join(stack.run("budgets", "list").split())
    said = stack.run("forget", "--customer", TEXTS[0], "--yes")
    assert f"{GONE}: its name is gone" in said and "It cannot take back" in said
    assert "- spend.budgets harrowgate-airlines-a-month" in said, "what people wrote themselves is for them to change"
    remove_budget(conf, "harrowgate-airlines-a-month")

    assert GONE not in values(conf, topics.NAMES, bytes)
    assert TEXTS[0].encode() not in bytes_on(conf, topics.FORGOTTEN)
    assert {name.name for name in known_names(conf).values()} == set(TEXTS) - {TEXTS[0]}
    rows = {row["member"]: row for row in report(stack)["customer"]["rows"]}
    assert "name" not in rows[GONE] and rows[STAYS]["name"] == TEXTS[1]
    assert Decimal(rows[GONE]["cost"]) == 15 * CALL
    assert sums(conf) == before
    assert "OK: 0 lost, 0 duplicated" in stack.run("audit")

    # the same customer calls again: counted under the same pseudonym, and nobody says who it is
    send(conf, 30, 10)
    until(lambda: counted(conf) == 40, "the further rows")
    assert {name.name for name in known_names(conf).values()} == set(TEXTS) - {TEXTS[0]}
    assert GONE not in values(conf, topics.NAMES, bytes)
    whole = sums(conf)
    assert [row for row in whole if row[0] == GONE][1] == (GONE, 20, 20 * CALL)

    # the whole log again, into an empty database
    stack.stop("sink")
    stack.settings = conf.model_copy(update={"clickhouse_database": "replayed"})
    stack.run("migrate", "up")
    stack.start("sink")
    until(lambda: counted(stack.settings) == 40, "the replay")
    assert sums(stack.settings) == whole
    assert not any(rows_with_a_name(connect(conf), "replayed").values())
    assert "name" not in {row["member"]: row for row in report(stack)["customer"]["rows"]}[GONE]


def test_the_brokers_files_lose_a_name_that_was_forgotten(stack: Stack) -> None:
    conf = stack.settings
    files, ann = folder(conf, "broker"), pseudonyms_of(conf, "user", "ann@example.com")
    if conf.broker != "kafka":
        assert not files.exists(), "the embedded broker keeps no files"
        return

    def holding() -> list[str]:
        """Also of a broker that is at work on them: its files come and go."""
        found = []
        for file in files.rglob("*"):
            with suppress(FileNotFoundError, IsADirectoryError):
                found += [file.name] if b"ann@example.com" in file.read_bytes() else []
        return found

    send(conf, 100, 2)
    assert holding() != []
    forget(conf, ann)
    time.sleep(topics.SEGMENT_SECONDS + 1)
    forget(conf, ann)
    until(lambda: not holding(), "compaction", 120)
    assert any(TEXTS[1].encode() in file.read_bytes() for file in files.rglob("*.log"))


def test_a_name_that_a_producer_published_before_it_heard_is_shown_to_nobody(stack: Stack) -> None:
    conf = stack.settings
    [who] = pseudonyms_of(conf, "user", "bob@example.com")
    written = values(conf, topics.NAMES, bytes)[who]
    forget(conf, {who})
    put(conf, topics.NAMES, {who: written})
    assert who not in known_names(conf)
    assert "bob@example.com" not in stack.run("report", "--by", "user")
    forget(conf, {GONE})  # whatever came back goes with it
    assert who not in values(conf, topics.NAMES, bytes)
