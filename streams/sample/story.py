"""What happens besides the usual: a loop of calls that runs away, and the customers whose spend rises and falls."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from streams.sample.arrivals import NO_CUSTOMER, Arrivals
from streams.sample.calls import Calls, draw_calls
from streams.sample.counts import OK
from streams.sample.organisation import Organisation

_DEVELOPER = 7  # number of the user whose loop it is


@dataclass(frozen=True)
class Told:
    """What was sent of the story: who to look for, and from when to when the loop's calls ended.

    `runaway_calls` is 0 where the traffic does not reach back to the loop.
    """

    rising: str  # customers
    falling: str
    workload: str  # that ran away
    model: str
    began: datetime
    ended: datetime
    runaway_calls: int


def runaway_start(org: Organisation, end: datetime) -> datetime:
    """When the loop in the traffic until `end` begins: a whole minute of a working day, some time before the end."""
    runaway = org.story.runaway
    first, last = runaway.between
    start = end.astimezone(UTC) - timedelta(hours=runaway.hours_before_end, minutes=runaway.minutes)
    start = start.replace(second=0, microsecond=0)
    if start.time() > last:
        start = datetime.combine(start.date(), last, UTC)
    while start.time() < first or start.weekday() > 4:
        start = datetime.combine(start.date() - timedelta(days=1), last, UTC)
    return start


def runaway_count(org: Organisation, start: datetime, end: datetime, days: int, events: int) -> int:
    """How many of `events` are calls of the loop that begins at `start`, in the `days` days before `end`."""
    runaway = org.story.runaway
    if start < end - timedelta(days=days):
        return 0
    return min(runaway.minutes * runaway.calls_a_minute, int(events * runaway.most_share))


def tell(org: Organisation, start: datetime, calls: int) -> Told:
    """The story with `calls` calls of a loop that began at `start`."""
    story = org.story
    ended = start + timedelta(minutes=story.runaway.minutes)
    return Told(story.rising, story.falling, story.runaway.workload, story.runaway.model, start, ended, calls)


def runaway_calls(org: Organisation, rng: np.random.Generator, ended: np.ndarray) -> Calls:
    """Calls of the loop, one at each of these times (us since 1970): one model, one developer, for no customer."""
    runaway, size = org.story.runaway, len(ended)
    workload = [w.name for w in org.workloads].index(runaway.workload)
    kinds = [n for n, v in enumerate(org.variants) if v.workload == workload and v.call.model == runaway.model]
    arrivals = Arrivals(ended, np.full(size, workload), np.full(size, NO_CUSTOMER))
    return replace(
        draw_calls(org, rng, arrivals),
        variant=np.full(size, kinds[0]),
        user=np.full(size, _DEVELOPER),
        fate=np.full(size, OK),
        context=rng.integers(*runaway.context, size, endpoint=True),
    )
