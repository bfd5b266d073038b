"""Budgets on `spend.budgets`: read, created, changed, removed; whoever does it, the command line or the API.

The topic is read to its end before anything is decided. A topic has no locks, so who creates a budget reads it once
more: of two of the same name that were made at the same time the first on the topic stands, and the second is told.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from streams import compacted, topics
from streams.errors import SpendError
from streams.kafka import read_range, reader, wait_for_brokers, watermarks
from streams.settings import Settings
from streams.spend.budget import Budget, Terms, slug
from streams.spend.budget_status import BudgetStatus
from streams.validation import Complaint, complaints

Model = TypeVar("Model", bound=BaseModel)

_FIXED = ("scope", "member")  # incidents and statuses are keyed by what they are about


class Refused(SpendError):
    """What was said about a budget does not fit; each complaint names its field."""

    def __init__(self, found: list[Complaint]) -> None:
        super().__init__(str(found[0]))
        self.found = found


class Duplicate(Refused):
    """There is a budget of that name."""


class Unknown(SpendError):
    """There is no budget of that id."""


def parse_budget(value: bytes) -> Budget:
    """The budget of a value of `spend.budgets`.

    Raises:
        SpendError: it does not fit; the message names the field.
    """
    return _valid(Budget, read_json(value))


def parse_status(value: bytes) -> BudgetStatus:
    """The status of a value of `spend.budget-status`.

    Raises:
        SpendError: it does not fit; the message names the field.
    """
    return _valid(BudgetStatus, read_json(value))


def budget_json(budget: Budget) -> bytes:
    """The budget as a value of `spend.budgets`."""
    return budget.model_dump_json().encode()


def read_json(value: bytes | str) -> Any:
    """A JSON document whose numbers keep their digits.

    Raises:
        SpendError: it is none.
    """
    try:
        return json.loads(value, parse_float=str)
    except (ValueError, RecursionError) as exc:
        raise Refused([Complaint("", f"it is not JSON: {exc}")]) from exc


def topic_budgets(settings: Settings) -> dict[str, Budget]:
    """The budgets of this moment, by id.

    Raises:
        Halt: the topic does not exist.
        Unreachable: the broker does not answer.
    """
    wait_for_brokers(settings, 3.0)
    return compacted.values(settings, topics.BUDGETS, parse_budget)


def topic_statuses(settings: Settings) -> dict[str, BudgetStatus]:
    """The statuses of this moment, by key. Raises as `topic_budgets` does."""
    wait_for_brokers(settings, 3.0)
    return compacted.values(settings, topics.BUDGET_STATUS, parse_status)


def create_budget(settings: Settings, said: Mapping[str, Any], now: datetime) -> Budget:
    """Put a budget on the topic.

    Args:
        said: the fields of `Terms`.
        now: when it is created.

    Raises:
        Refused: a field does not fit.
        Duplicate: its name, or an id made of another name, is there.
        Halt, Unreachable: as for `topic_budgets`, or the broker did not acknowledge it.
    """
    terms = _valid(Terms, said)
    budget = Budget(**dict(terms), id=slug(terms.name), created_at=now.replace(microsecond=0))
    known = topic_budgets(settings)
    _require_free_name(budget, known)
    publish(settings, {budget.id: budget})
    _require_first(settings, budget)
    return budget


def change_budget(settings: Settings, budget_id: str, said: Mapping[str, Any], *, whole: bool = False) -> Budget:
    """Change a budget that is there; its id stays, also under another name.

    Args:
        said: fields of `Terms`; those that stay fixed, and `id` and `created_at`, may be there if they are the same.
        whole: fields that are not said take their defaults; else they stay.

    Raises:
        Unknown: there is none of that id.
        Refused, Duplicate, Halt, Unreachable: as for `create_budget`.
    """
    known = topic_budgets(settings)
    before = _get(known, budget_id)
    old = before.model_dump(mode="json")
    terms = {field: value for field, value in said.items() if field not in ("id", "created_at")}
    for field in ("id", "created_at", *_FIXED):
        if field in said and said[field] != old[field]:
            why = "it stays as it is" if field not in _FIXED else "it cannot change: delete the budget, create another"
            raise Refused([Complaint(field, why)])
    kept = {field: old[field] for field in (_FIXED if whole else Terms.model_fields)}
    valid = _valid(Terms, {**kept, **terms})
    budget = Budget(**dict(valid), id=budget_id, created_at=before.created_at)
    _require_free_name(budget, {other: value for other, value in known.items() if other != budget_id})
    publish(settings, {budget_id: budget})
    return budget


def remove_budget(settings: Settings, budget_id: str) -> Budget:
    """Take a budget off the topic; returns what it was. Raises as `change_budget` does."""
    before = _get(topic_budgets(settings), budget_id)
    publish(settings, {budget_id: None})
    return before


def publish(settings: Settings, budgets: Mapping[str, Budget | None]) -> None:
    """Put budgets on the topic, None removes one; returns when the broker has them.

    Raises:
        Unreachable: the broker did not acknowledge them.
    """
    values = {key: budget_json(budget) if budget else None for key, budget in budgets.items()}
    compacted.put(settings, topics.BUDGETS, values)


def _get(known: Mapping[str, Budget], budget_id: str) -> Budget:
    if budget_id not in known:
        raise Unknown(f"there is no budget {budget_id!r}; `spendstream budgets list` shows them")
    return known[budget_id]


def _require_free_name(budget: Budget, known: Mapping[str, Budget]) -> None:
    for other in known.values():
        if other.name.casefold() == budget.name.casefold():
            raise Duplicate([Complaint("name", f"there is a budget {other.name!r} already (id {other.id})")])
        if other.id == budget.id:
            raise Duplicate([Complaint("name", f"{budget.name!r} gives the id {budget.id}, which {other.name!r} has")])


def _require_first(settings: Settings, budget: Budget) -> None:
    """Of budgets of one id that were made at the same time the first on the topic stands; put it back if need be."""
    consumer = reader(settings)
    try:
        start, end = watermarks(consumer, topics.BUDGETS, 0)
        since_removed: list[bytes] = []
        for message in read_range(consumer, topics.BUDGETS, 0, start, end):
            if message.key() == budget.id.encode():
                since_removed = [*since_removed, value] if (value := message.value()) else []
    finally:
        consumer.close()
    if since_removed and since_removed[0] != budget_json(budget):
        compacted.put(settings, topics.BUDGETS, {budget.id: since_removed[0]})
        raise Duplicate([Complaint("name", f"a budget {budget.name!r} was made a moment before")])


def _valid(model: type[Model], said: Any) -> Model:
    try:
        return model.model_validate(said)
    except ValidationError as exc:
        raise Refused(complaints(exc, model.model_fields)) from exc
