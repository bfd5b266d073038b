"""Ctrl-C, a closed terminal and SIGTERM, for commands that run until they are told to stop."""

import signal
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_in_order() -> None:
    """From here on the first of these signals raises KeyboardInterrupt, and no further one cuts what follows short."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _STOPS:
        signal.signal(number, stop)
