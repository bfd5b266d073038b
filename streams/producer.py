"""How a gateway or service publishes usage events: each one acknowledged, or an error that says how many were not.

    with UsageProducer(settings()) as producer:
        producer.send(UsageEvent(source="my-gateway", time=datetime.now(UTC), provider="openai", ...))

The key of a record is `source:id` and its partition is murmur2 of it, as Java clients compute it: a repeated event
meets the first one, whoever sends it.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.registry import write_prefix
from schemas.usage_event import UsageEvent, to_avro
from streams import topics
from streams.errors import SpendError, Unreachable
from streams.event_columns import with_texts
from streams.kafka import client_config
from streams.pseudonyms import PSEUDONYM, Pseudonyms
from streams.settings import Settings

HASHED = re.compile(r"[0-9a-f]{32,128}")  # shorter ones may be card or telephone numbers


def hash_user(user: str, key: bytes) -> str:
    """A user's pseudonym: 32 hexadecimal digits of HMAC-SHA-256. Without the key nobody can tell who it is.

    Raises:
        ValueError: the key is shorter than 16 bytes.
    """
    if len(key) < 16:
        raise ValueError("the key that hashes users has to be 16 bytes at least")
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()[:32]


class UsageProducer:
    """Publishes usage events to `spend.usage`, in order, each at least once.

    An idempotent producer with `acks=all`. `send` waits while the queue is full; what Kafka did not take is reported by
    `flush` and at the end of the `with` block, never swallowed. Not for several processes; threads may share it.

    Args:
        settings: the brokers and, if there is one, the schema registry (where the schema is registered).
        user_key: hashes the `user` of every event. Without it only users that are hashed already are taken, or any
            where SPEND_PSEUDONYMS has `user`.

    Raises:
        SpendError, Unreachable: a registry is configured and cannot be used, or pseudonyms are and there is no key.
    """

    def __init__(self, settings: Settings, user_key: bytes | None = None) -> None:
        self._brokers = settings.kafka_bootstrap_servers
        self._user_key = user_key
        self.prefix = write_prefix(settings)
        self._failed = 0
        self._first_error = ""
        self._producer = Producer(
            {
                **client_config(settings),
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "compression.type": "lz4",
                "delivery.timeout.ms": 60_000,
            }
        )
        self._pseudonyms = Pseudonyms(settings, self._send_name) if settings.pseudonyms else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
            else:
                self._producer.flush(10)
        finally:
            if self._pseudonyms is not None:
                self._pseudonyms.close()

    def send(self, event: UsageEvent) -> None:
        """Queue an event, its customer and user as pseudonyms where SPEND_PSEUDONYMS says so.

        Raises:
            SpendError: its `user` is not hashed and there is no key to do it with.
            ValueError: it is larger than a record may be.
        """
        if self._pseudonyms is not None:
            given = {kind: name for kind in self._pseudonyms.kinds if (name := getattr(event, kind)) is not None}
            event = event.model_copy(update={kind: self._pseudonyms.of(kind, name) for kind, name in given.items()})
        user = event.user
        if user is not None and not PSEUDONYM.fullmatch(user):
            if self._user_key is not None:
                event = event.model_copy(update={"user": hash_user(user, self._user_key)})
            elif not HASHED.fullmatch(user):
                raise SpendError(
                    "an event names its user in the clear: give UsageProducer a user_key, or use hash_user"
                )
        self.send_encoded(event.key, to_avro(event, self.prefix))

    def pseudonymous(self, events: pa.RecordBatch) -> pa.RecordBatch:
        """The events, schema `usage_event_arrow()`, as `send` would send them where SPEND_PSEUDONYMS is set."""
        if self._pseudonyms is not None:
            for kind in self._pseudonyms.kinds:
                events = with_texts(events, kind, partial(self._pseudonyms.of_all, kind))
        return events

    def send_encoded(self, key: bytes, value: bytes | None, timestamp_ms: int | None = None) -> None:
        """Queue a record as it is; `timestamp_ms` is its Kafka timestamp, the present one when not given."""
        more: dict[str, Any] = {} if timestamp_ms is None else {"timestamp": timestamp_ms}
        self._produce(topics.USAGE, value, key, on_delivery=self._delivered, **more)

    def send_many(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Queue many records, faster than one by one: as many keys as values."""
        messages: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in zip(keys, values, strict=True)]
        while messages:
            self._producer.produce_batch(topics.USAGE, messages, on_delivery=self._delivered)
            refused = [(message, message.pop("_error")) for message in messages if "_error" in message]
            messages = []
            for message, error in refused:
                if error.code() == KafkaError._QUEUE_FULL:
                    messages.append(message)
                else:
                    self._delivered(error, None)
            self._producer.poll(0.1 if messages else 0)

    def flush(self, seconds: float = 70.0) -> None:
        """Wait until Kafka has taken everything.

        Raises:
            Unreachable: it has not, or not all of it: the message says how many events and why. They are not tried
                again; sending them once more is safe, repeats are dropped.
        """
        waiting = self._producer.flush(seconds)
        failed, self._failed = self._failed, 0
        if failed or waiting:
            why = self._first_error or f"no answer in {seconds:g} s"
            raise Unreachable(
                f"Kafka at {self._brokers} did not take {failed + waiting} events: {why}. "
                "Look at SPEND_KAFKA_BOOTSTRAP_SERVERS and `spendstream doctor`"
            )

    def _send_name(self, key: bytes, value: bytes) -> None:
        def delivered(error: KafkaError | None, message: Message | None) -> None:
            if error is not None and self._pseudonyms is not None:
                self._pseudonyms.publish_again()
            self._delivered(error, message)

        self._produce(topics.NAMES, value, key, on_delivery=delivered, partition=0)

    def _produce(self, topic: str, value: bytes | None, key: bytes, **more: Any) -> None:
        """Queue a record; wait while the queue is full."""
        while True:
            try:
                self._producer.produce(topic, value, key, **more)
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as exc:
                self._delivered(exc.args[0], None)
                break
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message | None) -> None:
        if error is not None:
            self._first_error = self._first_error if self._failed else error.str()
            self._failed += 1
