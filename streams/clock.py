"""A clock for whoever must know that he did nothing for a while, because others may have taken over meanwhile."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has it


def uptime() -> float:
    """Seconds since some moment, with those in which the machine was suspended: `time.monotonic` leaves them out."""
    return time.clock_gettime(_CLOCK)
