"""What the pipeline relies on in a broker: topic ids, headers, large blocks, groups, explicit offsets."""

import shutil
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams import apache_kafka
from streams.kafka import MAX_MESSAGE_BYTES, read_range, send_all, watermarks
from streams.kafka import reader as kafka_reader
from streams.kafka_topics import create_topics
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports

BROKERS = ("kafka", "embedded")
pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Stack]:
    settings = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("broker"), broker=broker))
    with Stack(settings, parts=("broker",)) as running:
        yield running


def admin(stack: Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack.settings.kafka_bootstrap_servers, "log_level": 0})


def make_topic(stack: Stack, name: str, partitions: int = 1, **config: str) -> str:
    topic = NewTopic(name, partitions, config={key.replace("_", "."): value for key, value in config.items()})
    create_topics(stack.settings, [topic])
    return topic_id(stack, name)


def topic_id(stack: Stack, name: str) -> str:
    client = admin(stack)
    return str(client.describe_topics(TopicCollection([name]))[name].result(10).topic_id)


def producer(stack: Stack) -> Producer:
    return Producer(
        {
            "bootstrap.servers": stack.settings.kafka_bootstrap_servers,
            "enable.idempotence": True,
            "acks": "all",
            "message.max.bytes": 16 << 20,
            "linger.ms": 0,
        }
    )


def read(consumer: Consumer, count: int, seconds: float = 15) -> list[Message]:
    """`count` messages, or as many as come in time."""
    found: list[Message] = []
    end = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        found += [message for message in consumer.consume(count - len(found), 0.5) if not message.error()]
    return found


def reader(stack: Stack, **options: object) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": stack.settings.kafka_bootstrap_servers,
            "group.id": "unused",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 16 << 20,
        }
        | options
    )


def test_a_topic_keeps_its_id_and_each_topic_has_another(stack: Stack) -> None:
    one, other = make_topic(stack, "one", 4), make_topic(stack, "other", 4)
    assert topic_id(stack, "one") == one
    assert one != other
    assert len(admin(stack).list_topics("one", timeout=10).topics["one"].partitions) == 4


def test_a_block_of_six_megabytes_comes_back_with_its_headers(stack: Stack) -> None:
    make_topic(stack, "blocks", 2, max_message_bytes=str(16 << 20))
    value = bytes(range(256)) * (6 << 12)
    headers = [("log_id", b"abc"), ("first", b"0"), ("last", b"49999"), ("empty", b"")]
    sending = producer(stack)
    sending.produce("blocks", value, partition=1, headers=headers, timestamp=1_760_000_000_123)
    assert sending.flush(20) == 0
    reading = reader(stack)
    reading.assign([TopicPartition("blocks", 1, OFFSET_BEGINNING)])
    (message,) = read(reading, 1)
    reading.close()
    assert message.value() == value
    assert message.headers() == headers
    assert message.timestamp()[1] == 1_760_000_000_123
    assert (message.partition(), message.offset()) == (1, 0)


def test_the_pipeline_s_reader_reads_a_block_of_more_than_it_fetches_at_once(stack: Stack) -> None:
    make_topic(stack, "larger-blocks", max_message_bytes=str(MAX_MESSAGE_BYTES))
    values = [size * b"spendblock" for size in (1, 1_200_000, 2, 1_500_000, 3)]  # up to 15 MB
    send_all(stack.settings, "larger-blocks", ({"value": value, "partition": 0} for value in values))
    consumer = kafka_reader(stack.settings)
    try:
        for start in (0, 3):
            found = [message.value() for message in read_range(consumer, "larger-blocks", 0, start, len(values))]
            assert found == values[start:]
    finally:
        consumer.close()


def test_offsets_count_up_without_a_gap_and_are_read_from_any_of_them(stack: Stack) -> None:
    make_topic(stack, "log")
    sending = producer(stack)
    for n in range(5_000):
        sending.produce("log", str(n), key=str(n % 7))
    assert sending.flush(20) == 0
    reading = reader(stack)
    assert watermarks(reading, "log", 0) == (0, 5_000)
    for start in (0, 4_990):
        reading.assign([TopicPartition("log", 0, start)])
        found = read(reading, 5_000 - start)
        assert [message.offset() for message in found] == list(range(start, 5_000))
        assert [message.value() for message in found] == [str(n).encode() for n in range(start, 5_000)]
    reading.close()


def test_an_offset_beyond_the_end_never_yields_a_message_of_another_offset(stack: Stack) -> None:
    # Kafka says "out of range"; the embedded broker says nothing: readers compare with the watermarks.
    make_topic(stack, "short")
    sending = producer(stack)
    sending.produce("short", b"x")
    assert sending.flush(20) == 0
    reading = reader(stack)
    reading.assign([TopicPartition("short", 0, 1_000)])
    assert read(reading, 1, seconds=1.5) == []
    assert watermarks(reading, "short", 0) == (0, 1)
    reading.close()


def test_a_group_goes_on_where_it_committed(stack: Stack) -> None:
    make_topic(stack, "grouped", 2)
    sending = producer(stack)
    for n in range(20):
        sending.produce("grouped", str(n), partition=n % 2)
    assert sending.flush(20) == 0
    options = {"group.id": "sink", "session.timeout.ms": 1_500, "auto.offset.reset": "earliest"}
    first = reader(stack, **options)
    first.subscribe(["grouped"])
    assert len(read(first, 20)) == 20
    first.commit(offsets=[TopicPartition("grouped", 0, 4), TopicPartition("grouped", 1, 10)], asynchronous=False)
    first.close()
    second = reader(stack, **options)
    second.subscribe(["grouped"])
    left = read(second, 6)
    assert [(message.partition(), message.offset()) for message in left] == [(0, n) for n in range(4, 10)]
    second.close()


def test_a_broker_that_starts_again_without_its_files_is_empty_and_its_topics_have_new_ids(stack: Stack) -> None:
    before = make_topic(stack, "again")
    sending = producer(stack)
    sending.produce("again", b"x")
    assert sending.flush(20) == 0
    stack.kill("broker")
    shutil.rmtree(apache_kafka.folder(stack.settings, "broker"), ignore_errors=True)  # the embedded one has none
    stack.start("broker")
    assert "again" not in admin(stack).list_topics(timeout=10).topics
    assert make_topic(stack, "again") != before
    reading = reader(stack)
    assert watermarks(reading, "again", 0) == (0, 0)
    reading.close()
