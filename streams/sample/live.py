"""Live sample traffic: `python -m streams.sample.live --rate N` sends N events a second until it is told to stop.

The same organisation as the five weeks of `generate`; an event's time is the moment of its sending. With
`--incident-after S` the story's workload runs away S seconds after the start, for the minutes that organisation.yaml
says; its calls come on top.
"""

import argparse
import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from schemas.codec import encode_batch
from streams.errors import SpendError
from streams.event_columns import EPOCH, record_keys
from streams.kafka import wait_for_brokers
from streams.producer import UsageProducer
from streams.sample.arrivals import Demand
from streams.sample.calls import draw_calls, usage_events
from streams.sample.generator import numbered
from streams.sample.organisation import organisation
from streams.sample.story import runaway_calls
from streams.settings import settings

TICK_SECONDS = 0.2
PLANNED_DAYS = 8  # the demand is worked out for a week and a day, and anew every day


class LiveTraffic:
    """The organisation's traffic from `now` on. The same seed and the same calls of `events` give the same events."""

    def __init__(self, seed: int, now: datetime) -> None:
        self._org = organisation()
        self._rng = np.random.default_rng([seed, _micros(now)])
        self._began = self._planned = now
        self._demand = Demand(self._org, now, PLANNED_DAYS, sized_at=now)
        self._instance = f"live-{_micros(now):x}"
        self._sent: dict[str, int] = {}

    def events(self, since: datetime, now: datetime, count: int, runaway: int = 0) -> pa.RecordBatch:
        """`count` events of calls that ended after `since` and until `now`, emitted now, and `runaway` of the loop."""
        if now - self._planned >= timedelta(days=1):
            self._planned = now
            self._demand = Demand(self._org, now, PLANNED_DAYS, sized_at=self._began)
        ended = np.sort(self._rng.integers(_micros(since), _micros(now) + 1, count))
        calls = draw_calls(self._org, self._rng, self._demand.at(self._rng, ended))
        if runaway:
            looped = self._rng.integers(_micros(since), _micros(now) + 1, runaway)
            calls = calls.then(runaway_calls(self._org, self._rng, looped))
        calls.lag_us[:] = _micros(now) - calls.time
        return numbered(usage_events(self._org, self._rng, calls, self._instance), self._sent)


def _micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Incident:
    """When the story's workload runs away, in seconds since the start, and how many calls a second it then makes."""

    begins: float
    ends: float
    rate: float

    @classmethod
    def after(cls, seconds: float, rate: float) -> "Incident":
        """`seconds` after the start, in traffic of `rate` events a second."""
        runaway = organisation().story.runaway
        return cls(seconds, seconds + 60 * runaway.live_minutes, runaway.live_share * rate)

    def due(self, elapsed: float) -> int:
        """Calls that it has made by then."""
        return int(max(0.0, min(elapsed, self.ends) - self.begins) * self.rate)


def send_live(rate: float, seed: int, stop: threading.Event, incident: Incident | None = None) -> int:
    """Send `rate` events a second until `stop` is set, and the incident's; gives how many were sent.

    Raises:
        SpendError: the broker does not answer or refuses.
    """
    conf = settings()
    wait_for_brokers(conf)
    traffic = LiveTraffic(seed, datetime.now(UTC))
    began, sent, looped, last = time.monotonic(), 0, 0, datetime.now(UTC)
    with UsageProducer(conf) as producer:
        while not stop.wait(max(TICK_SECONDS, 1 / rate)):
            now, elapsed = datetime.now(UTC), time.monotonic() - began
            due = int(elapsed * rate) - sent
            loops = incident.due(elapsed) - looped if incident else 0
            if due + loops > 0:
                batch = traffic.events(last, now, due, loops)
                producer.send_many(record_keys(batch), encode_batch(batch, producer.prefix))
                sent, looped, last = sent + due, looped + loops, now
    return sent + looped


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m streams.sample.live", description=__doc__)
    parser.add_argument("--rate", type=float, required=True, help="events a second")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other traffic")
    parser.add_argument("--incident-after", type=float, help="seconds until the story's workload runs away")
    args = parser.parse_args()
    if not 0 < args.rate <= 50_000:
        parser.error("--rate lies between 0 and 50000")
    incident = None if args.incident_after is None else Incident.after(args.incident_after, args.rate)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        sent = send_live(args.rate, args.seed, stop, incident)
    except SpendError as exc:
        print(f"sample traffic: {exc}", file=sys.stderr)
        return exc.exit_code
    print(f"sample traffic: {sent} events sent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
