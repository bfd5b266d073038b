"""Budgets that ClickHouse knows, put back on a broker that has never held any: an embedded one starts empty."""

import logging

from clickhouse.client import connect
from streams import topics
from streams.budgets import parse_budget, publish
from streams.errors import SpendError
from streams.kafka import reader, watermarks
from streams.settings import Settings
from streams.spend.budget import Budget

log = logging.getLogger("spendstream.restore")


def restore_budgets(settings: Settings) -> int:
    """Put the budgets of the table `budgets` on `spend.budgets`, if nothing was ever on it; returns how many.

    A topic that has held a record is the truth, also when it is empty by now.

    Raises:
        Unreachable: Kafka or ClickHouse does not answer.
    """
    consumer = reader(settings)
    try:
        end = watermarks(consumer, topics.BUDGETS, 0)[1]
    finally:
        consumer.close()
    if end > 0:
        return 0
    client = connect(settings)
    table = f"{settings.clickhouse_database}.budgets"
    if not client.command(f"EXISTS TABLE {table}"):
        return 0
    found: dict[str, Budget | None] = {}
    for budget_id, value in client.query(f"SELECT id, value FROM {table} FINAL WHERE removed = 0").result_rows:
        try:
            found[budget_id] = parse_budget(value.encode())
        except SpendError as exc:
            log.error("%s: %s is left out: %s", table, budget_id, exc)
    publish(settings, found)
    return len(found)
