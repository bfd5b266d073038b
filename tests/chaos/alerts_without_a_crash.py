"""The alerts that follow from what was priced when nothing ever dies: spend.totals replayed, ten messages at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from traffic import messages

from streams import alerts, topics, totals
from streams.kafka import topic_ids
from streams.raise_alerts import Alarms
from streams.settings import Settings
from streams.spend.alert import Alert, Completeness, Origin
from streams.spend.budget import Budget
from streams.spend.explained import Explained
from streams.spend.merging import Message
from streams.spend.windows import DAY
from streams.windows_start import Earlier, new_book, new_merging

# ids of alerts that outlast a log, and were told in more than one
TOLD_AGAIN = (
    "SELECT id FROM alerts WHERE startsWith(id, 'budget/') OR startsWith(id, 'unpriced/') "
    "GROUP BY id HAVING uniqExact(log_id) > 1"
)


def replay(settings: Settings, budgets: Mapping[str, Budget]) -> list[Alert]:
    """The alerts of all partitions, after those of earlier logs. The budgets were there before the first call."""
    found: list[Alert] = []
    earlier = Earlier(settings, topic_ids(settings, topics.USAGE)[topics.USAGE])
    for number in range(settings.partitions):
        merging = new_merging(settings, number, settings.partitions, settings.partitions)
        book = new_book(settings, number, settings.partitions)
        book.base, book.base_until = earlier.days(number, settings.partitions), earlier.until
        alarms = Alarms(
            book.zone, set(earlier.alerts), {}, lambda *_: Explained((), None, "replayed"), lambda *_: False
        )
        origin = Origin("replay", Completeness(0, 0, 0, 0), book.zone)
        found += alarms.fresh(alarms.of_budgets(book.take_terms(budgets, merging.windows, 0), budgets, origin))
        log = _totals(settings, number)
        for message in log:
            ten = chain((message,), islice(log, 9))
            merged = merging.apply(ten, alarms.trends_due(merging.windows, merging.watermark))
            changes, _ = book.merge(merged.touched, merged.watermark)
            found += alarms.fresh(alarms.of_budgets(changes, budgets, origin))
            found += alarms.fresh(alarms.of_anomalies(merged.found, origin))
            found += alarms.fresh(alarms.of_unpriced(merged.touched[DAY], origin))
            found += alarms.fresh(alarms.of_trends(merging.windows, merged.watermark, origin))
    return found


def _totals(settings: Settings, partition: int) -> Iterator[Message]:
    for record in messages(settings, topics.TOTALS, partition):
        yield totals.message(record.offset() or 0, record.headers(), record.value())[1]  # type: ignore[arg-type]


def long_standing(*terms: Mapping[str, object]) -> dict[str, Budget]:
    """Budgets that were there before the first call, so that every period is judged."""
    found = {}
    for each in terms:
        key = str(each["name"]).lower().replace(" ", "-")
        found[key] = Budget.model_validate({**each, "id": key, "created_at": "2020-01-01T00:00:00Z"})
    return found


def told(settings: Settings) -> Counter[str]:
    """How often each alert stands on spend.alerts."""
    return Counter(published.alert.id for published in alerts.read(settings))


def decisions(ids: Iterable[str]) -> set[str]:
    """The alerts that may not depend on how the work was cut up.

    Left out are revisions, which say that an opening met only some of the calls of its minute, and stalls, which are
    about the clock.
    """
    return {alert for alert in ids if "/revised/" not in alert and not alert.startswith("stalled/")}
