"""The rates in force: default prices, own rates from a file, and own rates from `spend.rates`, kept current.

`spend.rates` is compacted: the last value of each rate id stands, an empty value removes it. It is read to its end
before the first event is priced; a change takes effect within a second.
"""

import logging
import threading

from streams import topics
from streams.compacted import Follower
from streams.errors import SpendError
from streams.rate_sources import parse_rate, read_rates_file
from streams.settings import Settings
from streams.spend.rates import RateTable, default_table

log = logging.getLogger("spendstream.rates")


class RatesFeed:
    """Follows the own rates; `table` is always a whole, consistent table.

    Raises:
        SpendError: the rates file or, at the start, the topic holds rates that do not fit together.
    """

    table: RateTable

    def __init__(self, settings: Settings) -> None:
        self._from_file = read_rates_file(settings.rates_file) if settings.rates_file else []
        self._compiling = threading.Lock()
        with self._compiling:  # a change that comes meanwhile waits until there is a first table
            self._follower = Follower(settings, topics.RATES, parse_rate, self._changed)
            try:
                self._compile()
                return
            except SpendError as exc:
                wrong = exc
        self.close()
        raise wrong

    def close(self) -> None:
        """Follow no longer."""
        self._follower.close()

    def _compile(self) -> None:
        self.table = default_table([*self._from_file, *self._follower.values.values()])
        log.info("rates in force: %s", self.table.version)

    def _changed(self) -> None:
        with self._compiling:
            try:
                self._compile()
            except SpendError as exc:
                log.error("spend.rates: until this is mended the rates stay as they were: %s", exc)


def rates_in_force(settings: Settings) -> RateTable:
    """The rates of this moment. Raises as `RatesFeed` does."""
    feed = RatesFeed(settings)
    feed.close()
    return feed.table
