"""What spend.alerts holds, and telling on it what it does not hold yet."""

import time
from collections.abc import Iterable
from datetime import datetime

from streams import alerts, metrics, topics
from streams.publishing import OrderedProducer
from streams.raise_alerts import Alarms, crossings
from streams.settings import Settings
from streams.spend.alert import Alert


class ToldAlerts:
    """`ids` of the alerts that were told, by whomever, and by incident where a budget's level was last `crossed`."""

    def __init__(self, settings: Settings, producer: OrderedProducer) -> None:
        self._settings = settings
        self._producer = producer
        self.forget()

    def forget(self) -> None:
        """Begin anew: the topic may be another one."""
        self.ids: set[str] = set()
        self.crossed: dict[str, datetime] = {}
        self._to = 0  # offset on spend.alerts
        self._heard_at = 0.0

    def hear(self) -> set[str]:
        """Read on; returns the ids that were new."""
        found = set()
        first, _ = alerts.end(self._settings)
        for each in alerts.read(self._settings, max(first, self._to)):
            self._to = each.offset + 1
            found.add(each.alert.id)
            self.crossed |= crossings([each.alert.document])
        self.ids |= found
        self._heard_at = time.monotonic()
        return found

    def listen(self) -> set[str]:
        """After a pause, as of a suspended machine, another may be at work: the ids of what it told meanwhile."""
        is_paused = time.monotonic() - self._heard_at > self._settings.session_timeout_seconds * 0.8
        found = self.hear() if is_paused else set()
        self._heard_at = time.monotonic()
        return found

    def tell(self, alarms: Alarms, found: Iterable[Alert]) -> None:
        """Publish alerts, each once, and each before the next is made: finding out why takes time."""
        told: set[str] = set()
        for alert in alarms.fresh(found):
            told |= self.listen()
            if alert.id in told:
                continue
            key, value, headers = alerts.record(alert)
            self._producer.send(topics.ALERTS, value, key=key, partition=0, headers=headers)
            metrics.ALERTS.labels(alert.document["type"]).inc()
