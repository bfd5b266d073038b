"""What became of each alert on each channel, on `spend.deliveries`; and how far each channel has come.

Keyed `<alert id>|<channel>`, JSON; an empty value forgets one whose alert has expired:

    {"alert_id": ..., "incident": ..., "channel": ..., "state": "pending|delivered|failed|suppressed|summarised",
     "attempts": 3, "last_error": "HTTP 500", "at": "2026-11-27T06:00:00Z"}

Keyed `|<channel>`: every alert before the offset is settled on this channel, or not its business.

    {"channel": ..., "state": "position", "offset": 12, "topic_id": ..., "at": ...}
"""

import json
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from confluent_kafka import KafkaError, Message, Producer

from streams import compacted, topics
from streams.errors import SpendError, Unreachable
from streams.kafka import client_config
from streams.settings import Settings
from streams.spend.alert_document import Alert, rfc3339
from streams.topics import DAY_MS

log = logging.getLogger("spendstream.relay")

State = Literal["pending", "delivered", "failed", "suppressed", "summarised"]
STATES: tuple[State, ...] = ("pending", "delivered", "failed", "suppressed", "summarised")
_GRACE_SECONDS = 10.0
_FORGOTTEN_AFTER = timedelta(days=31)  # spend.alerts keeps 30 days


@dataclass(frozen=True)
class Delivery:
    """The status of an alert on a channel. `last_error` holds no secret."""

    alert_id: str
    incident: str
    channel: str
    state: State
    attempts: int
    last_error: str | None
    at: datetime

    @property
    def settled(self) -> bool:
        """Nothing more is done about it, not after a restart either."""
        return self.state != "pending"

    def as_json(self) -> dict[str, Any]:
        """A value of spend.deliveries."""
        return {
            "alert_id": self.alert_id,
            "incident": self.incident,
            "channel": self.channel,
            "state": self.state,
            "attempts": self.attempts,
            "last_error": self.last_error,
            "at": rfc3339(self.at),
        }


@dataclass(frozen=True)
class Position:
    """How far a channel has come on the alert topic of this id."""

    channel: str
    offset: int
    topic_id: str


@dataclass(frozen=True)
class Remembered:
    """All of spend.deliveries: statuses by (alert id, channel), positions by channel."""

    deliveries: dict[tuple[str, str], Delivery]
    positions: dict[str, Position]


def delivery_of(
    alert: Alert, channel: str, state: State, *, attempts: int, error: str | None, at: datetime
) -> Delivery:
    """The status of an alert."""
    return Delivery(alert.id, str(alert.document["data"]["incident"]), channel, state, attempts, error, at)


def key_of(alert_id: str, channel: str) -> str:
    """The record's key; no channel's name has a bar."""
    return f"{alert_id}|{channel}"


def read_deliveries(settings: Settings) -> Remembered:
    """What stands on the topic at this moment.

    Raises:
        Halt: the topic does not exist. Unreachable: the broker does not answer.
    """
    found = compacted.values(settings, topics.DELIVERIES, _parse)
    statuses = [each for each in found.values() if isinstance(each, Delivery)]
    return Remembered(
        {(each.alert_id, each.channel): each for each in statuses},
        {each.channel: each for each in found.values() if isinstance(each, Position)},
    )


class DeliveryLog:
    """Writes statuses and positions, from any thread, in the order of each caller."""

    def __init__(self, settings: Settings, stopped: threading.Event) -> None:
        """Whoever waits for the broker waits as long as it takes, but not much longer than until `stopped` is set."""
        self._stopped = stopped
        self._producer = Producer(
            {
                **client_config(settings),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "delivery.timeout.ms": DAY_MS,  # a broker that is away is no reason to send an alert twice
            }
        )
        self._refused: list[str] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="delivery-log", daemon=True)
        self._thread.start()

    def settle(self, delivery: Delivery, *, wait: bool) -> None:
        """Write a status. `wait`: until the broker has it, so that it is known after a crash.

        Raises:
            Unreachable: the broker refuses it, or this log was closed meanwhile.
        """
        self._write(key_of(delivery.alert_id, delivery.channel), delivery.as_json(), wait)

    def move(self, position: Position, now: datetime, *, wait: bool = False) -> None:
        """Write how far a channel has come. Raises as `settle`."""
        value = {
            "channel": position.channel,
            "state": "position",
            "offset": position.offset,
            "topic_id": position.topic_id,
            "at": rfc3339(now),
        }
        self._write(f"|{position.channel}", value, wait)

    def forget(self, keys: list[str]) -> None:
        """Take records off the topic."""
        for key in keys:
            self._write(key, None, False)

    def close(self, seconds: float) -> None:
        """Let what was written reach the broker, but not for ever."""
        left = self._producer.flush(seconds)
        self._closed.set()
        self._thread.join()
        if left:
            log.warning("%d delivery statuses did not reach the broker: their alerts may be sent again", left)

    def _write(self, key: str, value: dict[str, Any] | None, wait: bool) -> None:
        done = threading.Event()

        def written(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._refused.append(error.str())
            done.set()

        text = None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
        self._producer.produce(topics.DELIVERIES, text, key.encode(), partition=0, on_delivery=written)
        grace = _GRACE_SECONDS
        while wait and not done.wait(0.2):
            grace -= 0.2 if self._stopped.is_set() else 0.0
            if grace <= 0 or self._closed.is_set():
                raise Unreachable(f"{topics.DELIVERIES}: the broker did not acknowledge a status in time")
        if self._refused:
            raise Unreachable(f"{topics.DELIVERIES}: {self._refused[0]}")

    def _serve(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)


def expired(remembered: Remembered, channels: set[str], now: datetime) -> list[str]:
    """Keys to forget: statuses whose alerts have expired, positions of channels that are no more. Pure."""
    old = [each for each in remembered.deliveries.values() if now - each.at > _FORGOTTEN_AFTER]
    gone = [name for name in remembered.positions if name not in channels]
    return [*(key_of(each.alert_id, each.channel) for each in old), *(f"|{name}" for name in gone)]


def _parse(value: bytes) -> Delivery | Position:
    try:
        raw = json.loads(value)
        if raw["state"] == "position":
            return Position(str(raw["channel"]), int(raw["offset"]), str(raw["topic_id"]))
        if raw["state"] not in STATES:
            raise ValueError(f"state {raw['state']!r}")
        at = datetime.fromisoformat(raw["at"]).astimezone(UTC)
        texts = (str(raw["alert_id"]), str(raw["incident"]), str(raw["channel"]))
        return Delivery(*texts, raw["state"], int(raw["attempts"]), raw["last_error"], at)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise SpendError(f"it is no delivery status: {exc}") from exc
