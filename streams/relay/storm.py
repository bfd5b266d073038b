"""The limit against storms: so many messages in a stretch of time, and what is beyond is told as one. Pure."""

from collections.abc import Iterable


class StormLimit:
    """A stretch begins with a message and lasts `seconds`; in it `most` messages may go.

    What does not fit is held back by the caller until the stretch is over, and is then told in one message, the first
    of the next stretch. Times are seconds of any one clock.
    """

    def __init__(self, most: int, seconds: float, sent: Iterable[float] = ()) -> None:
        """`sent`: times of messages before now, so that a restart opens no second stretch beside the first."""
        self._most, self._seconds = most, seconds
        self._began: float | None = None
        self._count = 0
        for at in sorted(sent):
            self.count(at)

    def has_room(self, now: float) -> bool:
        """Whether a message may go."""
        return self._over(now) or self._count < self._most

    def count(self, now: float) -> None:
        """A message goes."""
        if self._over(now):
            self._began, self._count = now, 0
        self._count += 1

    def opens_in(self, now: float) -> float:
        """Seconds until there is room."""
        if self.has_room(now) or self._began is None:
            return 0.0
        return max(0.0, self._began + self._seconds - now)

    def _over(self, now: float) -> bool:
        return self._began is None or now - self._began >= self._seconds


class NoLimit(StormLimit):
    """Everything goes."""

    def __init__(self) -> None:
        super().__init__(1, 0.0)

    def has_room(self, now: float) -> bool:
        return True
