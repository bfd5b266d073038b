"""States of budgets leave in turns: those that crossed a level first, the others as they came."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from streams.spend.budget import Budget
from streams.spend.budget_book import BudgetBook
from streams.spend.windows import Retention, Windows
from streams.status_queue import StatusQueue
from tests.unit.priced_rows_by_hand import deltas_of

ZONE = ZoneInfo("UTC")
NOON = int(datetime(2026, 11, 10, 12, tzinfo=UTC).timestamp())
MEMBERS = [f"c{number:03}" for number in range(300)]


@pytest.fixture(scope="module")
def book() -> BudgetBook:
    """A budget for each of 300 customers, who have all spent a dollar."""
    said = {"id": "each", "name": "Each", "scope": "customer", "member": "*", "limit_usd": "100", "period": "day"}
    windows = Windows(0, ZONE, Retention(10_800, 3_456_000), 1_000)
    made = BudgetBook(ZONE, lambda *_: True)
    made.take_terms({"each": Budget.model_validate({**said, "created_at": "2026-01-01T00:00:00Z"})}, windows, 0)
    rows = deltas_of(("customer", member, NOON, {"cost_total": 10**12}) for member in MEMBERS)
    made.merge(windows.merge([(rows, 0)], 1, NOON), NOON)
    return made


def keys(*members: str) -> list[tuple[str, str]]:
    return [("each", member) for member in members]


def test_who_waits_longest_is_first_and_a_change_meanwhile_is_no_second_turn(book: BudgetBook) -> None:
    queue, sent = StatusQueue(), []
    queue.changed(keys("c002", "c001"))
    queue.changed(keys("c003", "c002"))
    queue.publish(book, NOON, lambda key, _: sent.append(key))
    assert sent == ["each/c002", "each/c001", "each/c003"]


def test_without_time_one_at_a_time_leaves_and_none_is_forgotten(book: BudgetBook) -> None:
    queue, sent = StatusQueue(), []
    queue.changed(keys(*MEMBERS))
    queue.publish(book, NOON, lambda key, _: sent.append(key), seconds=0.0)
    assert sent == ["each/c000"]
    for _ in MEMBERS:
        queue.publish(book, NOON, lambda key, _: sent.append(key), seconds=0.0)
    assert sent == [f"each/{member}" for member in MEMBERS]


def test_what_crossed_a_level_does_not_wait_and_is_not_sent_twice(book: BudgetBook) -> None:
    queue, sent = StatusQueue(), []
    queue.changed(keys("c001", "c002"))
    queue.crossed(keys("c002"))
    queue.publish_urgent(book, NOON, lambda key, _: sent.append(key))
    assert sent == ["each/c002"]
    queue.publish(book, NOON, lambda key, _: sent.append(key))
    assert sent == ["each/c002", "each/c001"]
