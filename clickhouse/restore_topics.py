"""What people said, as ClickHouse has it, put back on a broker that has never held any of it: an embedded one starts
empty, and budgets and planned activity are not over when it stops."""

import logging
from collections.abc import Callable

from clickhouse.client import connect
from streams import compacted, topics
from streams.budgets import parse_budget
from streams.errors import SpendError
from streams.kafka import reader, watermarks
from streams.planned import parse_planned
from streams.settings import Settings

log = logging.getLogger("spendstream.restore")

RESTORED: dict[str, tuple[str, Callable[[bytes], object]]] = {
    topics.BUDGETS: ("budgets", parse_budget),
    topics.PLANNED: ("planned", parse_planned),
}
"""Topic to the table of its copies, and what raises SpendError for a value that is none."""


def restore_topics(settings: Settings) -> dict[str, int]:
    """Put the values of each topic of RESTORED back, if nothing was ever on it; returns how many, by topic.

    A topic that has held a record is the truth, also when it is empty by now.

    Raises:
        Unreachable: Kafka or ClickHouse does not answer.
    """
    return {topic: _restore(settings, topic, *of) for topic, of in RESTORED.items()}


def _restore(settings: Settings, topic: str, name: str, parse: Callable[[bytes], object]) -> int:
    consumer = reader(settings)
    try:
        end = watermarks(consumer, topic, 0)[1]
    finally:
        consumer.close()
    if end > 0:
        return 0
    client = connect(settings)
    table = f"{settings.clickhouse_database}.{name}"
    if not client.command(f"EXISTS TABLE {table}"):
        return 0
    found: dict[str, bytes | None] = {}
    for key, value in client.query(f"SELECT id, value FROM {table} FINAL WHERE removed = 0").result_rows:
        try:
            parse(value.encode())
            found[key] = value.encode()
        except SpendError as exc:
            log.error("%s: %s is left out: %s", table, key, exc)
    compacted.put(settings, topic, found)
    return len(found)
