"""Budgets and their statuses as they are at this moment, followed in memory: a change is there within a second."""

import threading

from streams import topics
from streams.budgets import parse_budget, parse_status
from streams.compacted import Follower
from streams.errors import SpendError
from streams.settings import Settings
from streams.spend.budget import Budget, ByMember, by_member
from streams.spend.budget_status import BudgetStatus


class BudgetsFeed:
    """Follows `spend.budgets`. Raises as `Follower` does."""

    index: ByMember
    """The budgets by scope and member."""

    def __init__(self, settings: Settings) -> None:
        self._indexing = threading.Lock()
        with self._indexing:  # a change that comes meanwhile waits until there is a first index
            self._follower = Follower(settings, topics.BUDGETS, parse_budget, self._reindex)
            self.index = by_member(self.budgets.values())

    @property
    def budgets(self) -> dict[str, Budget]:
        """The budgets by id; a new dict at each change (compare with `is`), not to be changed."""
        return self._follower.values

    def _reindex(self) -> None:
        with self._indexing:
            self.index = by_member(self.budgets.values())

    def close(self) -> None:
        """Follow no longer."""
        self._follower.close()


class StatusFeed:
    """Follows `spend.budget-status`. Raises as `Follower` does.

    Statuses come often and are asked for seldom: a value is parsed when it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._follower = Follower(settings, topics.BUDGET_STATUS, bytes)
        self._parsed: dict[str, tuple[bytes, BudgetStatus | None]] = {}

    def get(self, key: str) -> BudgetStatus | None:
        """The status under a key; None when there is none that can be read."""
        value = self._follower.values.get(key)
        if value is None:
            self._parsed.pop(key, None)
            return None
        known = self._parsed.get(key)
        if known is None or known[0] is not value:
            try:
                known = (value, parse_status(value))
            except SpendError:
                known = (value, None)
            self._parsed[key] = known
        return known[1]

    def all(self) -> dict[str, BudgetStatus]:
        """Every status by key."""
        found = ((key, self.get(key)) for key in list(self._follower.values))
        return {key: status for key, status in found if status is not None}

    def close(self) -> None:
        """Follow no longer."""
        self._follower.close()
