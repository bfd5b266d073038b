"""Which states of a partition's budgets are to be published on spend.budget-status, and in which order."""

import time
from collections.abc import Callable, Iterable

from streams.spend.budget_book import BudgetBook

Key = tuple[str, str]
"""A budget's id and the member."""

_SECONDS = 0.05  # for states that crossed nothing, at a time: alerts wait meanwhile


class StatusQueue:
    """States that changed and are not published yet: those that crossed a level are `urgent`, the others wait in the
    order in which they changed first."""

    def __init__(self) -> None:
        self._waiting: dict[Key, None] = {}
        self._urgent: dict[Key, None] = {}

    def changed(self, keys: Iterable[Key]) -> None:
        """They are to be published when there is time."""
        self._waiting |= dict.fromkeys(keys)

    def crossed(self, keys: Iterable[Key]) -> None:
        """They are to be published first."""
        self._urgent |= dict.fromkeys(keys)

    def publish_urgent(self, book: BudgetBook, watermark: int, send: Callable[[str, bytes], object]) -> None:
        """`send` the key and the JSON of each that crossed a level."""
        for key in list(self._urgent):
            self._publish(key, book, watermark, send)

    def publish(
        self, book: BudgetBook, watermark: int, send: Callable[[str, bytes], object], seconds: float = _SECONDS
    ) -> None:
        """Those that wait, the longest waiting first, at least one and for so many seconds."""
        began = time.monotonic()
        for key in list(self._waiting):
            self._publish(key, book, watermark, send)
            if time.monotonic() - began > seconds:
                break

    def _publish(self, key: Key, book: BudgetBook, watermark: int, send: Callable[[str, bytes], object]) -> None:
        self._urgent.pop(key, None)
        self._waiting.pop(key, None)
        for name, status in book.statuses([key], watermark):
            send(name, status.model_dump_json().encode())
