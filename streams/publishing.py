"""How a worker publishes: one idempotent producer, in order; a message that Kafka does not take ends the process."""

import logging
import os
from collections.abc import Callable
from typing import NoReturn

from confluent_kafka import KafkaError, KafkaException, Message

from streams.errors import Halt, SpendError, Unreachable
from streams.kafka import admin, block_producer
from streams.settings import Settings


class OrderedProducer:
    """Sends in order; a failed delivery ends the process before anything later could leave.

    Args:
        settings: the settings.
        fatal: ends the process, saying why.
    """

    def __init__(self, settings: Settings, fatal: Callable[[BaseException], NoReturn]) -> None:
        self._producer = block_producer(settings)
        self._settings = settings
        self._fatal = fatal
        self._partitions: dict[str, int] = {}

    def send(self, topic: str, value: bytes | None, **more: object) -> list[int]:
        """Queue a message; the list it gives holds its offset once `flush` has returned."""
        acknowledged: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                if error.code() == KafkaError._MSG_TIMED_OUT:
                    self._fatal(Unreachable(f"Kafka took no message for {topic} in time: {error.str()}"))
                self._fatal(Halt(f"Kafka did not take a message for {topic}: {error.str()}"))
            acknowledged.append(message.offset() or 0)

        while True:
            try:
                self._producer.produce(topic, value, on_delivery=delivered, **more)  # type: ignore[arg-type]
                return acknowledged
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        """Wait until Kafka has acknowledged everything."""
        left = self._producer.flush(self._settings.stall_seconds)
        if left:
            self._fatal(Halt(f"Kafka has not acknowledged {left} messages in {self._settings.stall_seconds:g} s"))

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; asked once. Raises Unreachable."""
        if topic not in self._partitions:
            try:
                found = admin(self._settings).list_topics(topic, timeout=10).topics[topic].partitions
            except KafkaException as exc:
                raise Unreachable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {exc.args[0].str()}") from exc
            self._partitions[topic] = len(found)
        return self._partitions[topic]


def end_process(log: logging.Logger, what: str, exc: BaseException) -> NoReturn:
    """End the process at once: what is not acknowledged is done again by whoever goes on."""
    if isinstance(exc, SpendError):
        log.critical("%s", exc)
    else:
        log.critical("%s failed", what, exc_info=exc)
    logging.shutdown()
    os._exit(getattr(exc, "exit_code", 1))
