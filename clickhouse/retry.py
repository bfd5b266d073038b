"""Asking ClickHouse until it answers: down, slow or refusing means waiting, with back-off, and Kafka keeps the rest."""

import logging
import threading
from collections.abc import Callable
from itertools import count
from typing import NoReturn, TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError

from streams.errors import Unreachable
from streams.publishing import end_process

log = logging.getLogger("spendstream.sink")

_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds; the last one again and again

Answer = TypeVar("Answer")


def insist(what: str, act: Callable[[int], Answer], stopping: threading.Event) -> Answer | None:
    """Call `act` until ClickHouse has answered it.

    Args:
        what: says in the log what did not succeed.
        act: is given the number of the attempt, from 0; must be harmless to repeat.
        stopping: set when there is nothing to insist on any more.

    Returns:
        What `act` returned; None when `stopping` was set before it succeeded.

    Raises:
        whatever `act` raises that is not ClickHouse's being away or refusing.
    """
    for attempt in count():
        try:
            return act(attempt)
        except (Unreachable, ClickHouseError, OSError) as exc:
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
            log.warning("%s (%s); again in %g s, Kafka waits", what, first_line(exc), pause)
            if stopping.wait(pause):
                break
    return None


def fatal(exc: BaseException) -> NoReturn:
    """End the process at once: what is not covered by progress is inserted again by whoever goes on."""
    end_process(log, "the sink", exc)


def first_line(exc: BaseException) -> str:
    """An error's first line, as much of it as a log line bears."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0][:300]
