"""What spend.alerts holds, and telling on it what it does not hold yet."""

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from streams import alerts, metrics, topics
from streams.clock import uptime
from streams.publishing import OrderedProducer
from streams.raise_alerts import Alarms, crossings
from streams.settings import Settings
from streams.spend.alert import Alert
from streams.spend.budget_told import Told, told


class ToldAlerts:
    """What was told, by whomever: the `ids` of alerts, and by incident where a budget's level was last `crossed` and
    what was last said of it, as `budgets`."""

    def __init__(self, settings: Settings, producer: OrderedProducer) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone)
        self._producer = producer
        self.forget()

    def forget(self) -> None:
        """Begin anew: the topic may be another one."""
        self.ids: set[str] = set()
        self.crossed: dict[str, datetime] = {}
        self.budgets: dict[str, Told] = {}
        self._to = 0  # offset on spend.alerts
        self._heard_at = 0.0
        self.is_owner_from = 0.0  # of `uptime`: after a pause, whoever was replaced has heard of it by then

    def hear(self) -> set[str]:
        """Read on; returns the ids that were new."""
        found = set()
        first, _ = alerts.end(self._settings)
        for each in alerts.read(self._settings, max(first, self._to)):
            self._to = each.offset + 1
            found.add(each.alert.id)
            document = each.alert.document
            self.crossed |= crossings([document])
            if document["type"].startswith("spend.budget."):
                incident = document["data"]["incident"]
                self.budgets[incident] = told(document, self._zone, self.budgets.get(incident))
        self.ids |= found
        self._heard_at = uptime()
        return found

    def listen(self) -> set[str]:
        """After a pause, as of a suspended machine, another may be at work: the ids of what it told meanwhile."""
        found = set()
        if uptime() - self._heard_at > self._settings.session_timeout_seconds * 0.8:
            found = self.hear()
            self.is_owner_from = uptime() + self._settings.session_timeout_seconds
        self._heard_at = uptime()
        return found

    def tell(self, alarms: Alarms, found: Iterable[Alert]) -> None:
        """Publish alerts, each once, and each before the next is made: finding out why takes time."""
        meanwhile: set[str] = set()
        for alert in alarms.fresh(found):
            meanwhile |= self.listen()
            if alert.id in meanwhile:
                continue
            key, value, headers = alerts.record(alert)
            self._producer.send(topics.ALERTS, value, key=key, partition=0, headers=headers)
            metrics.ALERTS.labels(alert.document["type"]).inc()
