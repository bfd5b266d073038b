"""Alerts on `spend.alerts`: how they are written, read, followed and folded into incidents.

A record is a CloudEvents document in the structured mode of the Kafka protocol binding: the value is the whole
document, the header `content-type` says so, the key is the incident's. Readers begin at an explicit offset.
"""

import json
import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams import topics
from streams.errors import Halt
from streams.kafka import read_range, reader, send_all, topic_ids, watermarks
from streams.settings import Settings
from streams.spend.alert_document import SEVERITIES, Alert, refuse_floats

log = logging.getLogger("spendstream.alerts")

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE.encode())]
_ENDS = ("retracted", "resolved", "closed")
_TEXTS = ("incident", "change", "title", "text", "dimension", "member")


@dataclass(frozen=True)
class Published:
    """An alert as it stands on the topic. `at`: when the broker took it, milliseconds since the epoch."""

    offset: int
    at: int
    alert: Alert


@dataclass(frozen=True)
class Incident:
    """All that was said about one incident, in order."""

    key: str
    changes: tuple[Published, ...]

    @property
    def latest(self) -> Published:
        return self.changes[-1]

    @property
    def is_open(self) -> bool:
        """Whether it will be said to be over, and was not yet; only budgets and anomalies have an end."""
        latest = self.latest.alert.document
        return latest["type"].startswith(("spend.budget.", "spend.anomaly.")) and latest["data"]["change"] not in _ENDS

    def as_json(self) -> dict[str, Any]:
        """For machines: the latest document whole, of the others their ids."""
        return {
            "incident": self.key,
            "open": self.is_open,
            "opened_at": self.changes[0].alert.document["time"],
            "changes": [change.alert.id for change in self.changes],
            "latest": self.latest.alert.document,
        }


def record(alert: Alert) -> tuple[bytes, bytes, list[tuple[str, str | bytes | None]]]:
    """Key, value and headers of its record; it goes to partition 0."""
    return alert.key.encode(), alert.value, HEADERS


def publish(settings: Settings, alerts: Iterable[Alert]) -> None:
    """Put alerts on the topic, in order; returns when the broker has them all.

    Raises:
        Unreachable: the broker did not acknowledge them.
    """
    records = map(record, alerts)
    send_all(
        settings,
        topics.ALERTS,
        ({"value": value, "key": key, "partition": 0, "headers": headers} for key, value, headers in records),
    )


def read(settings: Settings, start: int | None = None) -> Iterator[Published]:
    """The alerts from an offset (None: the first that is kept) to the topic's end as of this moment.

    Raises:
        Halt: the topic does not exist, or the offset is gone.
        Unreachable: the broker does not answer.
    """
    topic_ids(settings, topics.ALERTS)
    consumer = reader(settings)
    try:
        low, high = watermarks(consumer, topics.ALERTS, 0)
        for message in read_range(consumer, topics.ALERTS, 0, low if start is None else start, high):
            if (found := parse(message)) is not None:
                yield found
    finally:
        consumer.close()


def tail(settings: Settings, start: int, stopped: threading.Event) -> Iterator[Published]:
    """The alerts from an offset on, as they come, until `stopped` is set.

    Raises:
        Halt: the offset is gone, or the broker reports an error.
    """
    consumer = reader(settings)
    try:
        consumer.assign([TopicPartition(topics.ALERTS, 0, start)])
        while not stopped.is_set():
            yield from poll(consumer, 0.2)
    finally:
        consumer.close()


def poll(consumer: Consumer, seconds: float) -> Iterator[Published]:
    """What an assigned consumer has within so many seconds; errors that pass are left to it.

    Raises:
        Halt: the position is gone, or the topic.
    """
    for message in consumer.consume(500, seconds):
        error = message.error()
        if error is None:
            if (found := parse(message)) is not None:
                yield found
        elif error.code() in _FINAL or error.fatal():
            raise Halt(f"{topics.ALERTS}: {error.str()}")
        elif error.code() != KafkaError._PARTITION_EOF:
            log.warning("%s: %s", topics.ALERTS, error.str())


_FINAL = {
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}


def end(settings: Settings) -> tuple[int, int]:
    """The first offset of the topic and its end. Raises as `read`."""
    topic_ids(settings, topics.ALERTS)
    consumer = reader(settings)
    try:
        return watermarks(consumer, topics.ALERTS, 0)
    finally:
        consumer.close()


def parse(message: Message) -> Published | None:
    """The alert of a record; None, with a warning, for one that is none: whoever put it there, the others go on."""
    offset, value = message.offset(), message.value()
    assert offset is not None
    try:
        document = json.loads(value or b"")
        refuse_floats(document)
        found = Published(offset, message.timestamp()[1], Alert((message.key() or b"").decode(), _checked(document)))
    except (ValueError, TypeError) as exc:
        log.warning("%s at offset %d is no alert: %s", topics.ALERTS, offset, exc)
        return None
    return found


def _checked(document: Any) -> dict[str, Any]:
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise ValueError("it has no data")
    for holder, names in ((document, ("id", "type", "time")), (data, _TEXTS)):
        for name in names:
            if not isinstance(holder.get(name), str):
                raise ValueError(f"{name} is no text")
    if data.get("severity") not in SEVERITIES:
        raise ValueError(f"severity is none of {', '.join(SEVERITIES)}")
    return dict(document)


def fold(alerts: Iterable[Published]) -> list[Incident]:
    """Incidents, the one that changed last at the end; an alert that stands there twice counts once."""
    incidents: dict[str, list[Published]] = {}
    seen: set[str] = set()
    for each in alerts:
        if each.alert.id in seen:
            continue
        seen.add(each.alert.id)
        key = str(each.alert.document["data"]["incident"])
        incidents[key] = [*incidents.pop(key, []), each]
    return [Incident(key, tuple(changes)) for key, changes in incidents.items()]
