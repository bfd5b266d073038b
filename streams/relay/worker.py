"""A channel's thread: takes the alerts of its queue one after the other and sends each until it is settled.

Only this channel waits for its target. Order is kept, so that an incident's end never comes before its beginning: while
one alert is tried again the next ones wait behind it, until it is given up.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streams import metrics
from streams.errors import Halt, SpendError
from streams.relay.channels import Chat, Webhook
from streams.relay.deliveries import DeliveryLog, State, delivery_of
from streams.relay.storm import NoLimit, StormLimit
from streams.relay.targets import Outcome, Target
from streams.spend import relay_notices
from streams.spend.alert_document import Alert

log = logging.getLogger("spendstream.relay")

_LONGEST_WAIT = 300.0


@dataclass(frozen=True)
class Job:
    """An alert to send. `attempts`: those before a restart; `published`: when the broker took it, seconds."""

    offset: int
    alert: Alert
    published: float
    attempts: int = 0
    taken: float = field(default_factory=time.monotonic)


def back_off(attempts: int, luck: float) -> float:
    """Seconds to wait after so many failed attempts: 1, 2, 4, ... up to 5 minutes, half to one and a half of it as
    `luck` (0 to 1) has it, so that channels that failed together do not come back together. Pure."""
    return min(_LONGEST_WAIT, 2.0 ** min(attempts - 1, 20)) * (0.5 + luck)


class ChannelWorker(threading.Thread):
    """Sends one channel's alerts. `error` is set when it ended because statuses cannot be written."""

    def __init__(
        self,
        channel: Webhook | Chat,
        target: Target,
        deliveries: DeliveryLog,
        stopped: threading.Event,
        sent_before: Iterable[float] = (),
    ) -> None:
        """`sent_before`: when the channel got its latest messages, seconds since the epoch, for the storm limit."""
        super().__init__(name=f"channel {channel.name}", daemon=True)
        self.channel = channel
        self.error: SpendError | None = None
        self._target, self._deliveries, self._stopped = target, deliveries, stopped
        limit = channel.limit
        self._limit = StormLimit(limit.alerts, limit.minutes * 60, sent_before) if limit else NoLimit()
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._held: list[Job] = []
        self._open: set[int] = set()
        self._lock = threading.Lock()
        self._waiting = metrics.RELAY_WAITING.labels(channel.name)

    def offer(self, job: Job) -> None:
        """Queue an alert; returns at once."""
        with self._lock:
            self._open.add(job.offset)
            self._waiting.set(len(self._open))
        self._queue.put(job)

    def settled_before(self, next_offset: int) -> int:
        """The offset before which nothing of this channel is open, when it was offered everything up to
        `next_offset`."""
        with self._lock:
            return min(self._open, default=next_offset)

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._step()
        except SpendError as exc:
            self.error = exc
        except Exception as exc:
            log.exception("channel %s", self.channel.name)
            self.error = Halt(f"channel {self.channel.name}: {type(exc).__name__}: {exc}")

    def _step(self) -> None:
        opens_in = self._limit.opens_in(time.time()) if self._held else 0.5
        try:
            job: Job | None = self._queue.get(timeout=min(max(opens_in, 0.01), 0.5))
        except queue.Empty:
            job = None
        if self._held and self._limit.has_room(time.time()):
            self._summarise()
        if job is None:
            return
        if self._limit.has_room(time.time()):
            self._deliver(job)
        else:
            self._hold(job)

    def _deliver(self, job: Job) -> None:
        attempts = job.attempts
        while not self._stopped.is_set():
            outcome = self._attempt(job.alert)
            attempts += 1
            if outcome.delivered:
                self._settle(job, "delivered", attempts)
                metrics.RELAY_SECONDS.labels(self.channel.name).observe(max(0.0, time.time() - job.published))
                return
            if self._gives_up(outcome, job.taken):
                self._settle(job, "failed", attempts, outcome.error)
                return
            self._pending(job, attempts, outcome.error)
            self._wait(outcome, attempts - job.attempts)

    def _summarise(self) -> None:
        """Tell what was held back in one message; all of it is settled by that."""
        held = self._held
        notice = relay_notices.summary(self.channel.name, [job.alert for job in held], datetime.now(UTC))
        taken, attempts = time.monotonic(), 0
        while not self._stopped.is_set():
            outcome = self._attempt(notice)
            attempts += 1
            gives_up = not outcome.delivered and self._gives_up(outcome, taken)
            if outcome.delivered or gives_up:
                self._held = []
                state: State = "summarised" if outcome.delivered else "failed"
                self._write(notice, "delivered" if outcome.delivered else "failed", attempts, outcome.error)
                for job in held[:-1]:
                    self._settle(job, state, attempts, outcome.error, wait=False)
                self._settle(held[-1], state, attempts, outcome.error)  # in order: the last is there when all are
                return
            self._wait(outcome, attempts)

    def _attempt(self, alert: Alert) -> Outcome:
        outcome = self._target.send(alert)
        if outcome.delivered:
            self._limit.count(time.time())
        else:
            metrics.RELAY_ATTEMPTS_FAILED.labels(self.channel.name).inc()
            log.warning("channel %s: %s: %s", self.channel.name, alert.id, outcome.error)
        return outcome

    def _gives_up(self, outcome: Outcome, taken: float) -> bool:
        return outcome.final or time.monotonic() - taken >= self.channel.give_up_minutes * 60

    def _wait(self, outcome: Outcome, attempts: int) -> None:
        asked = min(outcome.wait or 0.0, self.channel.give_up_minutes * 60)
        self._stopped.wait(max(asked, back_off(attempts, random.random())))

    def _hold(self, job: Job) -> None:
        self._held.append(job)
        limit = self.channel.limit
        assert limit is not None
        self._pending(job, job.attempts, f"held back: more than {limit.alerts} in {limit.minutes:g} minutes")

    def _pending(self, job: Job, attempts: int, error: str | None) -> None:
        self._write(job.alert, "pending", attempts, error)

    def _settle(self, job: Job, state: State, attempts: int, error: str | None = None, *, wait: bool = True) -> None:
        self._write(job.alert, state, attempts, error, wait=wait)
        metrics.RELAY_DELIVERIES.labels(self.channel.name, state).inc()
        with self._lock:
            self._open.discard(job.offset)
            self._waiting.set(len(self._open))

    def _write(self, alert: Alert, state: State, attempts: int, error: str | None, *, wait: bool = False) -> None:
        status = delivery_of(alert, self.channel.name, state, attempts=attempts, error=error, at=datetime.now(UTC))
        self._deliveries.settle(status, wait=wait)
