"""Compacted topics of one partition: the last value of each key stands, an empty value removes it.

`Follower` keeps a topic's values current in a thread; `values` reads them once; `put` writes. A value that does not
parse is left out, with an error in the log: one bad record must not stop whoever needs the others.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.errors import SpendError
from streams.kafka import read_range, reader, send_all, topic_ids, watermarks
from streams.settings import Settings

log = logging.getLogger("spendstream.compacted")

Value = TypeVar("Value")
Parse = Callable[[bytes], Value]
"""Raises SpendError where the bytes are no value."""


class Follower(Generic[Value]):
    """Follows a topic; `values` is always whole, and a new dict at each change (compare with `is`).

    Raises:
        Halt: the topic does not exist.
        Unreachable: the broker does not answer.
    """

    def __init__(
        self, settings: Settings, topic: str, parse: Parse[Value], changed: Callable[[], None] = lambda: None
    ) -> None:
        """The topic has been read to its end when this returns. `changed` is called in the thread after a change."""
        self._topic, self._parse, self._changed = topic, parse, changed
        topic_ids(settings, topic)
        self._consumer = reader(settings)
        self.values, end = _read(self._consumer, topic, parse)
        self._consumer.assign([TopicPartition(topic, 0, end)])
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow {topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow no longer."""
        self._closed.set()
        self._thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        while not self._closed.is_set():
            came = []
            for message in self._consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    came.append(message)
                elif error.code() != KafkaError._PARTITION_EOF:
                    log.error("%s: %s", self._topic, error.str())
            if came:
                fresh = dict(self.values)
                for message in came:
                    _take(fresh, self._topic, self._parse, message)
                self.values = fresh
                self._changed()


def values(settings: Settings, topic: str, parse: Parse[Value]) -> dict[str, Value]:
    """The values of this moment, by key. Raises as `Follower` does."""
    topic_ids(settings, topic)
    consumer = reader(settings)
    try:
        return _read(consumer, topic, parse)[0]
    finally:
        consumer.close()


def put(settings: Settings, topic: str, changes: Mapping[str, bytes | None]) -> None:
    """Set keys (None: remove); returns when the broker has them all.

    Raises:
        Unreachable: the broker did not acknowledge them.
    """
    send_all(settings, topic, ({"value": value, "key": key.encode(), "partition": 0} for key, value in changes.items()))


def _read(consumer: Consumer, topic: str, parse: Parse[Value]) -> tuple[dict[str, Value], int]:
    start, end = watermarks(consumer, topic, 0)
    latest: dict[str, bytes] = {}
    for message in read_range(consumer, topic, 0, start, end):  # what is not compacted yet is many times what counts
        _take(latest, topic, bytes, message)
    try:
        return {key: parse(value) for key, value in latest.items()}, end
    except SpendError:
        log.warning("%s: a value cannot be read: where an earlier one of its key can, that stands", topic)
    found: dict[str, Value] = {}
    for message in read_range(consumer, topic, 0, start, end):
        _take(found, topic, parse, message)
    return found, end


def _take(found: dict[str, Value], topic: str, parse: Parse[Value], message: Message) -> None:
    key = (message.key() or b"").decode(errors="replace")
    value = message.value()
    if not value:
        found.pop(key, None)
        return
    try:
        found[key] = parse(value)
    except SpendError as exc:
        log.error("%s: %s is left out: %s", topic, key, exc)
