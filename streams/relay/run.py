"""The relay's main loop: reads spend.alerts in order and offers each alert to the channels that take it.

Where a channel begins is explicit: at its position on spend.deliveries; the first time at the end of the topic, or at
its beginning where that is asked for. What has a settled status there is not sent again.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from confluent_kafka import TopicPartition

from streams import alerts, metrics, topics
from streams.alerts import Published
from streams.kafka import reader, topic_ids
from streams.planned import PlannedFeed
from streams.relay.channels import Chat, Webhook
from streams.relay.deliveries import DeliveryLog, Position, Remembered, delivery_of, expired, read_deliveries
from streams.relay.route import suppressed, takes
from streams.relay.targets import Target, target_of
from streams.relay.worker import ChannelWorker, Job
from streams.settings import Settings
from streams.spend import relay_notices

log = logging.getLogger("spendstream.relay")

_POSITION_SECONDS = 5.0
_STOP_SECONDS = 15.0


class Relay:
    """Forwards alerts until `stop`.

    Raises:
        SpendError: a channel's address or secret does not fit.
        Halt, Unreachable: of Kafka.
    """

    def __init__(self, settings: Settings, channels: Sequence[Webhook | Chat], from_beginning: bool = False) -> None:
        self._settings, self._from_beginning = settings, from_beginning
        self._targets: dict[str, Target] = {channel.name: target_of(channel) for channel in channels}
        self._channels = channels
        self._stopped = threading.Event()
        self._next = 0
        self.ready = False

    def stop(self) -> None:
        """Let `run` return."""
        self._stopped.set()

    def run(self) -> None:
        """Forward alerts until `stop`, or until something ends it."""
        topic_id = topic_ids(self._settings, topics.ALERTS, topics.DELIVERIES)[topics.ALERTS]
        remembered = read_deliveries(self._settings)
        low, high = alerts.end(self._settings)
        begins = {
            channel.name: begin_at(remembered.positions.get(channel.name), topic_id, low, high, self._from_beginning)
            for channel in self._channels
        }
        planned, deliveries = PlannedFeed(self._settings), DeliveryLog(self._settings, self._stopped)
        workers = [self._worker(channel, deliveries, remembered) for channel in self._channels]
        consumer = reader(self._settings)
        try:
            now = datetime.now(UTC)
            deliveries.forget(expired(remembered, {channel.name for channel in self._channels}, now))
            for name, offset in begins.items():
                log.info("channel %s begins at alert %d of %d", name, offset, high)
                deliveries.move(Position(name, offset, topic_id), now, wait=True)
            for worker in workers:
                worker.start()
            self._next = min(begins.values())
            seen = {key for key, delivery in remembered.deliveries.items() if delivery.settled}
            attempts = {key: delivery.attempts for key, delivery in remembered.deliveries.items()}
            consumer.assign([TopicPartition(topics.ALERTS, 0, self._next)])
            self.ready = True
            saved = dict(begins)
            save_at = time.monotonic() + _POSITION_SECONDS
            while not self._stopped.is_set():
                for published in alerts.poll(consumer, 0.2):
                    for worker in workers:
                        key = (published.alert.id, worker.channel.name)
                        if published.offset >= begins[worker.channel.name] and key not in seen:
                            seen.add(key)
                            self._offer(worker, published, attempts.get(key, 0), planned, deliveries)
                    self._next = published.offset + 1
                for worker in workers:
                    if worker.error is not None:
                        raise worker.error
                if time.monotonic() >= save_at:
                    self._save(workers, deliveries, topic_id, saved)
                    save_at = time.monotonic() + _POSITION_SECONDS
            self._end(workers)
            self._save(workers, deliveries, topic_id, saved)
        finally:
            self.ready = False
            self._stopped.set()
            consumer.close()
            planned.close()
            deliveries.close(_STOP_SECONDS / 3)

    def _worker(self, channel: Webhook | Chat, deliveries: DeliveryLog, remembered: Remembered) -> ChannelWorker:
        sent = [
            each.at.timestamp()
            for each in remembered.deliveries.values()
            if each.channel == channel.name and each.state == "delivered"
        ]
        return ChannelWorker(channel, self._targets[channel.name], deliveries, self._stopped, sent)

    @staticmethod
    def _offer(
        worker: ChannelWorker, published: Published, attempts: int, planned: PlannedFeed, deliveries: DeliveryLog
    ) -> None:
        channel, alert = worker.channel, published.alert
        if not takes(channel, alert):
            return
        why = suppressed(channel, alert, planned.table)
        if why is None:
            worker.offer(Job(published.offset, alert, published.at / 1_000, attempts))
            return
        status = delivery_of(alert, channel.name, "suppressed", attempts=0, error=why, at=datetime.now(UTC))
        deliveries.settle(status, wait=False)
        metrics.RELAY_DELIVERIES.labels(channel.name, "suppressed").inc()

    def _save(
        self, workers: Sequence[ChannelWorker], deliveries: DeliveryLog, topic_id: str, saved: dict[str, int]
    ) -> None:
        for worker in workers:
            name = worker.channel.name
            offset = max(worker.settled_before(self._next), saved[name])
            if offset != saved[name]:
                deliveries.move(Position(name, offset, topic_id), datetime.now(UTC))
                saved[name] = offset

    @staticmethod
    def _end(workers: Sequence[ChannelWorker]) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                log.warning("channel %s: an attempt is still under way; it may be repeated", worker.channel.name)


def begin_at(position: Position | None, topic_id: str, low: int, high: int, from_beginning: bool) -> int:
    """The offset at which a channel begins. Pure, but for what it logs.

    Args:
        position: where it was; None: it is new.
        topic_id: the alert topic's id; it is another one when the topic was made anew.
        low, high: the first offset of the topic, and its end.
    """
    if position is None:
        return low if from_beginning else high
    if position.topic_id != topic_id:
        log.warning("channel %s: spend.alerts was made anew: it begins with its first alert", position.channel)
        return low
    if position.offset < low:
        log.error("channel %s: alerts expired before they were sent: %d", position.channel, low - position.offset)
        return low
    if position.offset > high:
        log.error("channel %s: spend.alerts lost its end: it begins with what comes next", position.channel)
        return high
    return position.offset


def check(channels: Sequence[Webhook | Chat], now: datetime, number: str) -> list[tuple[str, str | None]]:
    """Send a test to each channel, once: names, and what went wrong.

    Raises:
        SpendError: a channel's address or secret does not fit; nothing was sent then.
    """
    targets = [(channel.name, target_of(channel)) for channel in channels]
    return [(name, target.send(relay_notices.test(name, now, number)).error) for name, target in targets]
