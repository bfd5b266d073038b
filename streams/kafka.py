"""Kafka clients as every part of spendstream makes them: one configuration, explicit positions, no surprises.

No client resets a position by itself: `auto.offset.reset` is an error everywhere; whoever reads says where it begins.
"""

import logging
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from streams.errors import Halt, Unreachable
from streams.settings import Settings

log = logging.getLogger("spendstream.kafka")

MAX_MESSAGE_BYTES = 64 << 20


def client_config(settings: Settings) -> dict[str, Any]:
    """What every librdkafka client is given. librdkafka writes to stderr unless it has a logger."""
    return {"bootstrap.servers": settings.kafka_bootstrap_servers, "logger": log, "log_level": 3}


def wait_for_brokers(settings: Settings, seconds: float = 10.0) -> None:
    """Wait until one broker's port answers: librdkafka logs every attempt that fails.

    Raises:
        Unreachable: none did within `seconds`.
    """
    addresses = [a.strip().rpartition(":") for a in settings.kafka_bootstrap_servers.split(",")]
    deadline = time.monotonic() + seconds
    while True:
        for host, _, port in addresses:
            try:
                socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
                return
            except OSError:
                pass
        if time.monotonic() > deadline:
            raise Unreachable(
                f"no Kafka broker answers at {settings.kafka_bootstrap_servers}: start one with `spendstream up`, "
                "or set SPEND_KAFKA_BOOTSTRAP_SERVERS"
            )
        time.sleep(0.1)


def admin(settings: Settings) -> AdminClient:
    """An admin client."""
    return AdminClient(client_config(settings))


def create_topics(settings: Settings, wanted: list[NewTopic]) -> dict[str, bool]:
    """Make topics; by name, whether each was missing.

    A Kafka controller acknowledges a topic before its brokers know of it: this returns when the one that answers shows
    each with a leader for every partition.

    Raises:
        Unreachable: the broker refuses, or does not come to know them.
    """
    client = admin(settings)  # must live until its futures are done
    made = {}
    for name, future in client.create_topics(wanted, request_timeout=30).items():
        try:
            future.result()
            made[name] = True
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Unreachable(f"topic {name} cannot be made: {exc.args[0].str()}") from exc
            made[name] = False
    deadline = time.monotonic() + 30
    while True:
        found = client.list_topics(timeout=10).topics
        if all(name in found and all(p.leader >= 0 for p in found[name].partitions.values()) for name in made):
            return made
        if time.monotonic() > deadline:
            raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers} does not show the topics it has made")
        time.sleep(0.1)


def other_retention(settings: Settings, retention: Mapping[str, str]) -> dict[str, str]:
    """The topics that keep records for another time than they should; the embedded broker keeps all and tells of none.

    Args:
        settings: where the brokers are.
        retention: milliseconds by topic; all of them exist.

    Returns:
        By topic the milliseconds that it has.

    Raises:
        Unreachable: the broker does not answer or refuses.
    """
    client = admin(settings)  # must live until its futures are done
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in retention]
    found = {}
    for resource, future in client.describe_configs(resources, request_timeout=10).items():
        try:
            told = future.result().get("retention.ms")
        except KafkaException as exc:
            raise Unreachable(f"Kafka does not tell how topic {resource.name} is kept: {exc.args[0].str()}") from exc
        if told is not None and told.value != retention[resource.name]:
            found[resource.name] = str(told.value)
    return found


def keep(settings: Settings, retention: Mapping[str, str]) -> None:
    """Let topics keep their records for so many milliseconds.

    Raises:
        Unreachable: the broker refuses.
    """
    client = admin(settings)  # must live until its futures are done
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[ConfigEntry("retention.ms", kept, incremental_operation=AlterConfigOpType.SET)],
        )
        for name, kept in retention.items()
    ]
    for resource, future in client.incremental_alter_configs(resources, request_timeout=10).items():
        try:
            future.result()
        except KafkaException as exc:
            raise Unreachable(f"the retention of topic {resource.name} cannot be set: {exc.args[0].str()}") from exc


def topic_ids(settings: Settings, *names: str) -> dict[str, str]:
    """The id of each topic: a topic that was made anew has another one, so an id names one log for ever.

    Raises:
        Halt: a topic does not exist.
        Unreachable: the broker does not answer.
    """
    client = admin(settings)  # must live until its futures are done
    futures = client.describe_topics(TopicCollection(list(names)), request_timeout=10)
    ids = {}
    for name, future in futures.items():
        try:
            ids[name] = str(future.result().topic_id)
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Halt(f"topic {name} does not exist: make it with `spendstream topics create`") from exc
            raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc
    return ids


def reader(settings: Settings, group: str = "spendstream-reader", **config: Any) -> Consumer:
    """A consumer that commits nothing, reads only where it is told to, and says where a partition ends."""
    return Consumer(
        {
            **client_config(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "fetch.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": 128 << 10,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
            **config,
        }
    )


def passes(error: KafkaError) -> bool:
    """Whether a client goes on by itself after this error: a broker that is away comes back."""
    return error.retriable() or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)


def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The first offset of a partition and its end, one beyond its last record. `consumer` has nothing assigned.

    The end is what the answer to a fetch says. Asked for the latest offset, the embedded broker (Tansu 0.6) names the
    first offset of the last record batch plus one, which is the end only where that batch has one record.

    Raises:
        Unreachable: the broker does not answer.
    """
    where = TopicPartition(topic, partition)
    try:
        start, listed = consumer.get_watermark_offsets(where, timeout=10)
    except KafkaException as exc:
        raise Unreachable(f"{topic} partition {partition}: {exc.args[0].str()}") from exc
    if listed <= start:
        return start, listed
    consumer.assign([TopicPartition(topic, partition, listed - 1)])
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            for message in consumer.consume(1, 0.1):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise Unreachable(f"{topic} partition {partition}: {error.str()}")
                return start, consumer.get_watermark_offsets(where, cached=True)[1]
    finally:
        consumer.unassign()
    raise Unreachable(f"{topic} partition {partition}: the broker does not say where it ends")


def read_range(consumer: Consumer, topic: str, partition: int, start: int, end: int) -> Iterator[Message]:
    """The messages of a partition from offset `start` up to, not including, `end`.

    Raises:
        Halt: `start` is gone, or the broker reports an error.
        Unreachable: nothing comes for 30 s.
    """
    position = start
    consumer.assign([TopicPartition(topic, partition, start)])
    heard = time.monotonic()
    try:
        while position < end:
            messages = consumer.consume(min(500, end - position), 0.2)
            for message in messages:
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    continue
                if error is not None:
                    raise Halt(f"{topic} partition {partition} at offset {position}: {error.str()}")
                offset = message.offset()
                assert offset is not None
                if offset >= end:
                    return
                position = offset + 1
                yield message
            if messages:
                heard = time.monotonic()
            else:
                # control records and compaction leave gaps that no message shows
                at = consumer.position([TopicPartition(topic, partition)])[0].offset
                position = max(position, at)
                if time.monotonic() - heard > 30:
                    raise Unreachable(f"{topic} partition {partition}: nothing came for 30 s at offset {position}")
    finally:
        consumer.unassign()


def block_producer(settings: Settings) -> Producer:
    """The one producer of a worker: in order, acknowledged by all replicas, each message once."""
    return Producer(
        {
            **client_config(settings),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "delivery.timeout.ms": 60_000,
            "queue.buffering.max.kbytes": 256 << 10,
        }
    )
