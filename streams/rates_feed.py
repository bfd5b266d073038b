"""The rates in force: default prices, own rates from a file, and own rates from `spend.rates`, kept current.

`spend.rates` is compacted: the last value of each rate id stands, an empty value removes it. It is read to its end
before the first event is priced; a change takes effect within a second.
"""

import logging
import threading

from confluent_kafka import Consumer, KafkaError, TopicPartition

from streams import topics
from streams.errors import SpendError
from streams.kafka import read_range, reader, watermarks
from streams.rate_sources import parse_rate, read_rates_file
from streams.settings import Settings
from streams.spend.rates import Rate, RateTable, default_table

log = logging.getLogger("spendstream.rates")


class RatesFeed:
    """Follows the own rates; `table` is always a whole, consistent table.

    Raises:
        SpendError: the rates file or, at the start, the topic holds rates that do not fit together.
    """

    def __init__(self, settings: Settings) -> None:
        self._from_file = read_rates_file(settings.rates_file) if settings.rates_file else []
        self._from_topic: dict[str, Rate] = {}
        self._consumer = reader(settings)
        start, end = watermarks(self._consumer, topics.RATES, 0)
        for message in read_range(self._consumer, topics.RATES, 0, start, end):
            self._take(message.key(), message.value())
        self.table: RateTable = self._compile()
        self._consumer.assign([TopicPartition(topics.RATES, 0, end)])
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, args=(self._consumer,), name="rates-feed", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow no longer."""
        self._closed.set()
        self._thread.join()
        self._consumer.close()

    def _compile(self) -> RateTable:
        table = default_table([*self._from_file, *self._from_topic.values()])
        log.info("rates in force: %s", table.version)
        return table

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        rate_id = (key or b"").decode(errors="replace")
        if not value:
            self._from_topic.pop(rate_id, None)
            return
        try:
            self._from_topic[rate_id] = parse_rate(value)
        except SpendError as exc:
            log.error("spend.rates: %s is left out: %s", rate_id, exc)

    def _follow(self, consumer: Consumer) -> None:
        while not self._closed.is_set():
            message = consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    log.error("spend.rates: %s", error.str())
                continue
            self._take(message.key(), message.value())
            try:
                self.table = self._compile()
            except SpendError as exc:
                log.error("spend.rates: until this is mended the rates stay as they were: %s", exc)


def rates_in_force(settings: Settings) -> RateTable:
    """The rates of this moment. Raises as `RatesFeed` does."""
    feed = RatesFeed(settings)
    feed.close()
    return feed.table
