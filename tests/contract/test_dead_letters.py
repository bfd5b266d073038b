"""Producing, dead letters and their replay, against a real broker."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message, Producer
from typer.testing import CliRunner

from schemas.codec import WriterSchemas
from schemas.priced import usage_event_avsc
from schemas.usage_event import UsageEvent, event_key, micros, to_avro
from schemas.wire import confluent_prefix
from streams import settings as settings_module
from streams import topics
from streams.blocks import Header
from streams.cli.dead_letters import app, hexdump
from streams.dead_letters import REASONS, DeadLetter, collect, read_all, replay, target_partition
from streams.errors import SpendError, Unreachable
from streams.kafka import admin, client_config, read_range, reader, topic_ids, watermarks
from streams.partitioner import partitions_of
from streams.producer import UsageProducer, hash_user
from streams.settings import Settings
from streams.spend.check import check
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.decode import decode
from streams.spend.dedupe import DedupIndex
from streams.spend.rates import default_table
from streams.spend.records import Records
from streams.supervisor import Stack, on_free_ports

REPOSITORY = Path(__file__).parents[2]
BROKERS = ("kafka", "embedded")
KEY = b"sixteen bytes or more"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(**changes: Any) -> UsageEvent:
    given = {"source": "gw", "time": NOON, "provider": "openai", "request_model": "gpt-5-mini", "operation": "chat"}
    return UsageEvent(**{**given, **changes})


def letter(offset: int, **changes: Any) -> DeadLetter:
    given = {
        "key": event_key("gw", f"e{offset}"),
        "value": to_avro(event(id=f"e{offset}"))[:-1],
        "reason": "undecodable",
        "detail": "field raw_usage (byte 80 of 80): its bytes end",
        "topic": topics.USAGE,
        "partition": 1,
        "offset": offset,
        "log_id": "log",
    }
    return DeadLetter(**{**given, **changes})


# ---- what a dead letter is, without a broker


def test_a_dead_letter_comes_back_from_kafka_as_it_was() -> None:
    for sent in (letter(7), letter(8, key=None), letter(9, value=None, reason="empty", detail="ein Grabstein: é")):
        assert DeadLetter.from_kafka(sent.key, sent.value, sent.to_kafka()) == sent


def test_a_detail_that_is_no_text_is_still_a_header() -> None:
    sent = letter(7, detail="symbol '\ud800'")
    assert DeadLetter.from_kafka(sent.key, sent.value, sent.to_kafka()).detail == "symbol '?'"


def test_every_letter_is_listed_once_and_markers_say_which_were_replayed() -> None:
    def record(one: DeadLetter) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
        return one.key, one.value, one.to_kafka()

    marker = (b"log:1:8", None, [("replayed", b"log:1:8")])
    again = letter(7, detail="said twice, by a worker that crashed in between")
    stranger = (b"k", b"v", [("reason", b"undecodable")])
    found = collect([record(letter(7)), marker, record(letter(8)), record(again), stranger, (None, b"x", None)])
    assert [(one.place, one.replayed) for one in found] == [("1:7", False), ("1:8", True)]
    assert found[0].detail == letter(7).detail, "the first decision stands"


def test_a_replay_goes_to_its_own_partition_and_on_another_log_by_its_key() -> None:
    assert target_partition(letter(7), "log", 4) == 1
    by_key = int(partitions_of([b"gw:e7"], 4)[0])
    assert target_partition(letter(7), "another log", 4) == by_key
    assert target_partition(letter(7, partition=9), "log", 4) == by_key
    keyless = letter(7, key=None)
    assert target_partition(keyless, "another log", 4) == target_partition(keyless, "another log", 4)


def test_a_dead_letter_that_is_replayed_twice_after_the_mend_is_counted_once() -> None:
    registered: dict[int, str] = {}
    writers = WriterSchemas(lookup=registered.get)
    state = PartitionState("log", "blocks", 1, 4, -1, 0, DedupIndex(1_000), PoisonGuard(1_000, 0.5))
    unread = to_avro(event(id="e1"), confluent_prefix(9))

    def next_batch(*values: bytes) -> Header:
        offsets = state.mark + 1 + np.arange(len(values))
        times = np.full(len(values), micros(NOON))
        records = Records.of([b"gw:e1"] * len(values), values, offsets, times)
        header = decide(records, state, writers, default_table()).block.header
        state.mark = header.last
        return header

    first = next_batch(unread, to_avro(event(id="e2")))
    assert (first.rows, first.dead_letters["unknown_schema"].tolist()) == (1, [0])
    registered[9] = usage_event_avsc()
    mended = next_batch(unread)
    assert (mended.rows, mended.duplicates.tolist()) == (1, []), "a dead letter is no duplicate of itself"
    again = next_batch(unread)
    assert (again.rows, again.duplicates.tolist()) == (0, [3])


def test_a_hexdump_shows_bytes_and_text() -> None:
    assert hexdump(b"gpt-5\x00\xff") == ["00000000  67 70 74 2d 35 00 ff                             gpt-5.."]
    assert hexdump(bytes(2_000))[-1] == "... 976 more bytes"


def test_users_are_hashed_with_a_key() -> None:
    assert hash_user("ann@example.com", KEY) == hash_user("ann@example.com", KEY)
    assert len(hash_user("ann@example.com", KEY)) == 32
    assert hash_user("ann@example.com", KEY) != hash_user("ann@example.com", KEY + b"!")
    with pytest.raises(ValueError, match="16 bytes"):
        hash_user("ann@example.com", b"short")


# ---- with a broker


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Settings]:
    folder: Path = tmp_path_factory.mktemp("broker")
    with Stack(on_free_ports(Settings(state_dir=folder, broker=broker)), parts=("broker", "topics")) as stack:
        yield stack.settings


@pytest.fixture
def spendstream(conf: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Run `spendstream dead-letters ...` against the broker; what it printed."""
    monkeypatch.setenv("SPEND_KAFKA_BOOTSTRAP_SERVERS", conf.kafka_bootstrap_servers)
    monkeypatch.setenv("COLUMNS", "200")
    settings_module.settings.cache_clear()

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    yield run
    settings_module.settings.cache_clear()


def ends(conf: Settings, topic: str) -> dict[int, int]:
    consumer = reader(conf)
    partitions = admin(conf).list_topics(topic, timeout=10).topics[topic].partitions
    found = {p: watermarks(consumer, topic, p)[1] for p in partitions}
    consumer.close()
    return found


def messages(conf: Settings, topic: str, since: dict[int, int]) -> list[Message]:
    consumer = reader(conf)
    found = [m for p, end in ends(conf, topic).items() for m in read_range(consumer, topic, p, since[p], end)]
    consumer.close()
    return found


def put(conf: Settings, letters: list[DeadLetter]) -> None:
    producer = Producer(client_config(conf))
    for one in letters:
        producer.produce(topics.DEAD_LETTER, one.value, one.key, headers=dict(one.to_kafka()))
    assert producer.flush(20) == 0


@pytest.mark.stack
def test_the_end_of_a_partition_is_after_the_last_record_of_its_last_batch(conf: Settings) -> None:
    consumer = reader(conf)
    assert watermarks(consumer, topics.RATES, 0) == (0, 0)
    for end in (5, 6, 9):
        producer = Producer({**client_config(conf), "linger.ms": 100})
        for number in range(watermarks(consumer, topics.RATES, 0)[1], end):
            producer.produce(topics.RATES, b"{}", str(number))
        assert producer.flush(20) == 0
        assert watermarks(consumer, topics.RATES, 0) == (0, end)
    consumer.close()


@pytest.mark.stack
def test_events_are_published_where_javas_murmur2_puts_their_key(conf: Settings) -> None:
    before = ends(conf, topics.USAGE)
    sent = [event(id=f"p{i}", user="ann@example.com") for i in range(40)]
    with UsageProducer(conf, user_key=KEY) as producer:
        for one in sent[:20]:
            producer.send(one)
        keys = [one.key for one in sent[20:]]
        producer.send_many(keys, [to_avro(one) for one in sent[20:]])
        producer.send_encoded(b"gw:old", to_avro(event(id="old")), timestamp_ms=1_772_366_400_000)
    found = messages(conf, topics.USAGE, before)
    assert sorted(m.key() or b"" for m in found) == sorted([*(one.key for one in sent), b"gw:old"])
    for message in found:
        assert message.partition() == int(partitions_of([message.key() or b""], len(before))[0])
    assert [m.key() for m in found if m.timestamp()[1] == 1_772_366_400_000] == [b"gw:old"]
    sent_alone = [m.value() for m in found if m.key() not in (*keys, b"gw:old")]
    users = decode(sent_alone, WriterSchemas()).batch.column("user").to_pylist()
    assert users == [hash_user("ann@example.com", KEY)] * 20


@pytest.mark.stack
@pytest.mark.parametrize("number", [0, 1], ids=["with spendstream", "with fastavro alone"])
def test_the_examples_of_the_events_reference_publish_an_event_that_counts(conf: Settings, number: int) -> None:
    text = (REPOSITORY / "docs" / "events.md").read_text()
    example = text.split("```python\n")[number + 1].split("```")[0]
    before = ends(conf, topics.USAGE)
    subprocess.run(
        [sys.executable, "-c", example.replace("127.0.0.1:9092", conf.kafka_bootstrap_servers)],
        cwd=REPOSITORY / "schemas",
        env={
            **os.environ,
            "SPEND_KAFKA_BOOTSTRAP_SERVERS": conf.kafka_bootstrap_servers,
            "PYTHONPATH": str(REPOSITORY),
        },
        check=True,
        timeout=60,
    )
    (found,) = messages(conf, topics.USAGE, before)
    assert found.partition() == int(partitions_of([found.key() or b""], len(before))[0])
    decoded = decode([found.value()], WriterSchemas())
    keep, _ = check(decoded.batch, np.array([found.timestamp()[1] * 1_000]))
    assert keep.tolist() == [True]
    assert decoded.batch.column("input_tokens").to_pylist() == [1_200]


@pytest.mark.stack
def test_a_user_in_the_clear_is_not_published(conf: Settings) -> None:
    with UsageProducer(conf) as producer:
        for clear in ("ann@example.com", "4111111111111111", "ab" * 8):
            with pytest.raises(SpendError, match="user_key"):
                producer.send(event(user=clear))
        producer.send(event(user=hash_user("ann@example.com", KEY)))


@pytest.mark.stack
def test_what_kafka_did_not_take_is_said_with_its_number(conf: Settings) -> None:
    nowhere = on_free_ports(conf)
    producer = UsageProducer(nowhere)
    for _ in range(3):
        producer.send(event())
    with pytest.raises(Unreachable, match=r"did not take 3 events: no answer in 0\.2 s"):
        producer.flush(0.2)


@pytest.mark.stack
def test_a_record_that_is_too_large_for_the_broker_is_said_and_the_others_go(conf: Settings) -> None:
    producer = UsageProducer(conf)
    producer.send(event())
    producer.send_encoded(b"gw:huge", b"x" * 2_000_000)
    producer.send_many([b"gw:huge", b"gw:small"], [b"x" * 2_000_000, to_avro(event(id="small"))])
    with pytest.raises(Unreachable, match=r"did not take 2 events: .*too large"):
        producer.flush(20)
    producer.flush(20)


@pytest.mark.stack
def test_dead_letters_are_listed_shown_and_replayed(conf: Settings, spendstream: Callable[..., str]) -> None:
    log_id = topic_ids(conf, topics.USAGE)[topics.USAGE]
    unread = to_avro(event(id="e100", input_tokens=12), confluent_prefix(9))
    reason, detail = "unknown_schema", "the schema with id 9 is not in the schema registry"
    put(
        conf,
        [
            letter(100, value=unread, reason=reason, detail=detail, log_id=log_id),
            letter(101, log_id=log_id),
            letter(102, value=None, key=None, reason="empty", detail="a tombstone", log_id=log_id),
        ],
    )

    listed = spendstream("list")
    assert "1:100" in listed
    assert detail in listed
    assert REASONS["unknown_schema"] in listed
    rows = [json.loads(line) for line in spendstream("list", "--json").splitlines()]
    assert [(r["place"], r["reason"], r["replayed"]) for r in rows] == [
        ("1:100", "unknown_schema", False),
        ("1:101", "undecodable", False),
        ("1:102", "empty", False),
    ]
    assert len(spendstream("list", "--json", "--reason", "empty").splitlines()) == 1

    shown = spendstream("show", "1:101")
    assert '"request_model": "gpt-5-mini"' in shown
    assert "then: field raw_usage" in shown
    assert "00000000  c3 01" in shown
    assert "its bytes end" in shown
    assert "the schema with id 9 needs a registry" in spendstream("show", "1:100")

    before = ends(conf, topics.USAGE)
    assert "2 would be put back" in spendstream("replay", "--dry-run")
    assert messages(conf, topics.USAGE, before) == []

    said = spendstream("replay", "--reason", "unknown_schema")
    assert "1 put back on spend.usage" in said
    (back,) = messages(conf, topics.USAGE, before)
    assert (back.key(), back.value(), back.partition()) == (b"gw:e100", unread, 1)
    assert back.headers() == [("replay_of", f"{log_id}:1:100".encode())]
    rows = [json.loads(line) for line in spendstream("list", "--json").splitlines()]
    assert [r["place"] for r in rows if r["replayed"]] == ["1:100"]

    said = spendstream("replay")
    assert "1 put back" in said
    assert "1 were replayed before: left alone" in said
    assert "1 have no bytes: nothing to put back" in said
    assert "0 put back" in spendstream("replay")
    assert len(messages(conf, topics.USAGE, before)) == 2

    spendstream("replay", "--id", "1:100")
    again = messages(conf, topics.USAGE, before)
    assert [m.partition() for m in again if m.key() == b"gw:e100"] == [1, 1], "where its first replay is known"


@pytest.mark.stack
def test_a_place_or_a_reason_that_is_not_there_is_a_clear_error(spendstream: Callable[..., str]) -> None:
    with pytest.raises(SpendError, match="no dead letter at 3:9: `spendstream dead-letters list` shows them"):
        spendstream("show", "3:9")
    with pytest.raises(SpendError, match="--reason bad: there is no such reason, only empty"):
        spendstream("list", "--reason", "bad")


@pytest.mark.stack
def test_a_replay_that_dies_before_its_markers_is_done_again(conf: Settings) -> None:
    log_id = topic_ids(conf, topics.USAGE)[topics.USAGE]
    put(conf, [letter(200, log_id=log_id)])
    (one,) = [found for found in read_all(conf) if found.offset == 200]
    before = ends(conf, topics.USAGE)
    replay(conf, [one])
    replay(conf, [one])  # whoever did not see the marker
    both = messages(conf, topics.USAGE, before)
    assert {(m.key(), m.value(), m.partition()) for m in both} == {(one.key, one.value, 1)}
    assert [found.replayed for found in read_all(conf) if found.offset == 200] == [True]


@pytest.mark.stack
def test_a_letter_without_bytes_is_never_put_back(conf: Settings) -> None:
    with pytest.raises(SpendError, match="has no bytes"):
        replay(conf, [letter(300, value=None)])
