"""Kafka clients as every part of spendstream makes them: one configuration, explicit positions, no surprises.

No client resets a position by itself: `auto.offset.reset` is an error everywhere; whoever reads says where it begins.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.errors import Halt, Unreachable
from streams.kafka_rights import READERS
from streams.settings import Settings

log = logging.getLogger("spendstream.kafka")

_T = TypeVar("_T")
_PATIENCE_SECONDS = 30.0
_AWAY = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._DESTROY_BROKER)
_NOT_YET = (
    *(KafkaError._TIMED_OUT, KafkaError._UNKNOWN_PARTITION, KafkaError.OFFSET_NOT_AVAILABLE),
    *(KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION),
)
MAX_MESSAGE_BYTES = 64 << 20


def client_config(settings: Settings) -> dict[str, Any]:
    """What every librdkafka client is given. librdkafka writes to stderr unless it has a logger."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
        "logger": log,
        "log_level": 3,
    }
    if settings.kafka_signs_in:
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_username
        config["sasl.password"] = settings.kafka_password.get_secret_value()
    files = {
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    return config | {name: str(path) for name, path in files.items() if path is not None}


def wait_for_brokers(settings: Settings, seconds: float = 10.0) -> None:
    """Wait until one broker's port answers: librdkafka logs every attempt that fails. Then sign in, where one has to.

    Raises:
        Unreachable: none did within `seconds`, or it refuses who signs in, or its certificate does not fit.
    """
    _wait_for_port(settings, seconds)
    if settings.kafka_security_protocol != "PLAINTEXT":
        _sign_in(settings, seconds)


def _wait_for_port(settings: Settings, seconds: float) -> None:
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


_REFUSALS = {
    KafkaError._AUTHENTICATION: "SPEND_KAFKA_USERNAME, SPEND_KAFKA_PASSWORD and SPEND_KAFKA_SASL_MECHANISM",
    KafkaError._SSL: "SPEND_KAFKA_CA_FILE and SPEND_KAFKA_SECURITY_PROTOCOL",
}


def _sign_in(settings: Settings, seconds: float) -> None:
    """Connect once and be known: librdkafka tries a wrong password for ever, each time with a line in the log."""
    told: list[KafkaError] = []
    client = AdminClient(client_config(settings) | {"error_cb": told.append, "log_level": 0})
    deadline = time.monotonic() + max(seconds, 5.0)
    while True:
        try:
            client.list_topics(timeout=0.5)
            return
        except KafkaException as exc:
            client.poll(0)
            for error in told:
                if error.code() in _REFUSALS:
                    who = f" as {settings.kafka_username!r}" if settings.kafka_signs_in else ""
                    raise Unreachable(
                        f"Kafka at {settings.kafka_bootstrap_servers} does not let us in{who}: "
                        f"{error.str()}: look at {_REFUSALS[error.code()]}"
                    ) from None
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"Kafka at {settings.kafka_bootstrap_servers} does not answer by "
                    f"{settings.kafka_security_protocol} (SPEND_KAFKA_SECURITY_PROTOCOL): {exc.args[0].str()}"
                ) from None


def admin(settings: Settings) -> AdminClient:
    """An admin client."""
    return AdminClient(client_config(settings))


def topic_ids(settings: Settings, *names: str) -> dict[str, str]:
    """The id of each topic: a topic that was made anew has another one, so an id names one log for ever.

    Raises:
        Halt: a topic does not exist.
        Unreachable: the broker does not answer.
    """
    client = admin(settings)  # must live until its futures are done

    def ask() -> dict[str, str]:
        ids = {}
        for name, future in client.describe_topics(TopicCollection(list(names)), request_timeout=10).items():
            try:
                ids[name] = str(future.result().topic_id)
            except KafkaException as exc:
                if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise Halt(f"topic {name} does not exist: make it with `spendstream topics create`") from exc
                raise
        return ids

    try:
        return until_answered(ask)
    except KafkaException as exc:
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc


def until_answered(ask: Callable[[], _T]) -> _T:
    """The answer to a question, asked again while no broker answers: one that was killed is back within seconds.

    Raises:
        KafkaException: none did for half a minute, or one refuses.
    """
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as exc:
            error = exc.args[0]
            if not (passes(error) or error.code() in _NOT_YET) or time.monotonic() > give_up:
                raise
            time.sleep(0.2)


TAKING_OVER: dict[str, Any] = {"fetch.wait.max.ms": 5}
"""For a `reader` that goes from range to range: a fetch that waits at one's end would hold up the next one's first."""


def reader(settings: Settings, group: str = READERS, **config: Any) -> Consumer:
    """A consumer that commits nothing, reads only where it is told to, and says where a partition ends."""
    return Consumer(
        {
            **client_config(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.message.max.bytes": 8 << 20,  # a greater message comes alone; of more, the first would wait for all
            "fetch.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": 32 << 10,
            "fetch.queue.backoff.ms": 10,  # after that many are there; a second, where it is not said
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
            **config,
        }
    )


def passes(error: KafkaError) -> bool:
    """Whether a client goes on by itself after this error: a broker that is away comes back."""
    return error.retriable() or error.code() in _AWAY


def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The first offset of a partition and its end, one beyond its last record. `consumer` has nothing assigned.

    The end is what the answer to a fetch says. Asked for the latest offset, the embedded broker (Tansu 0.6) names the
    first offset of the last record batch plus one, which is the end only where that batch has one record.

    Raises:
        Unreachable: the broker does not answer.
    """
    where = TopicPartition(topic, partition)
    try:
        start, listed = until_answered(lambda: consumer.get_watermark_offsets(where, timeout=10))
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
                if error is not None and passes(error):
                    continue
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
            messages = consumer.consume(1, 0.2)
            messages += consumer.consume(500, 0) if messages else []  # what is there: more come while these are read
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


def send_all(settings: Settings, topic: str, records: Iterable[Mapping[str, Any]]) -> None:
    """Send records, each as the arguments of `Producer.produce`, in order; returns when the broker has them all.

    Raises:
        Unreachable: the broker did not acknowledge them.
    """
    failures: list[str] = []
    producer = block_producer(settings)
    for each in records:
        producer.produce(
            topic,
            **each,
            on_delivery=lambda error, _: failures.append(error.str()) if error is not None else None,
        )
    unsent = producer.flush(30)
    if failures or unsent:
        raise Unreachable(f"{topic}: {failures[0] if failures else 'the broker does not acknowledge the records'}")
