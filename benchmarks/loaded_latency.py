"""Event to queryable row and event to alert, under loads that are shares of what the machine can sustain."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.alert_latency import alert_waits, end_of_alerts, marked_budget, said_by, settle
from benchmarks.figures import Figure, Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.latency import Rows, add_waits
from benchmarks.machine import cpu_seconds
from benchmarks.over_kafka import until
from benchmarks.paced_traffic import pieces
from benchmarks.whole_pipeline import stored
from clickhouse.client import connect
from schemas.codec import encode_batch
from streams import budgets
from streams.errors import Halt
from streams.event_columns import record_keys
from streams.producer import UsageProducer
from streams.supervisor import PROCESSES, SERVERS, Stack

TRIED = (0.4, 0.3, 0.2, 0.1)  # shares of what the cores could do of a backlog, of which a live stream keeps one
TRIED_SECONDS, BEHIND_SECONDS = 8.0, 2.0  # a trial, and the events of so long may lack their rows at its end
SHARES = (0.1, 0.5, 0.9)
WANTED_SHARE, WANTED_SECONDS = 0.5, 1.0
SETTLE_SECONDS, SECONDS = 3.0, 12.0
MARKS = 60  # of a step
POLL_SECONDS = 0.15  # a look costs the database as much as a hundred events
BACKLOG_RATE, BACKLOG_SECONDS = 5_000, 45.0
CORES = os.cpu_count() or 1
SESSION_SECONDS = 12.0  # a worker is stopped while the backlog is sent, and must not be missed
_PATIENCE_SECONDS = 30.0

Tell = Callable[[str], None]


def measure(tell: Tell) -> Iterator[Section]:
    """One stack with all processes: first what an event costs, then a step for each share.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    with fresh_stack(tell, *PROCESSES, session_timeout_seconds=SESSION_SECONDS) as stack:
        section, of_backlog = _of_backlog(stack, tell)
        sustainable = _sustainable(stack, of_backlog, section, tell)
        yield section
        made = [marked_budget(number) for number in range(MARKS * len(SHARES))]
        budgets.publish(stack.settings, {budget.id: budget for budget in made})
        settle(stack)
        for number, share in enumerate(SHARES):
            tell(f"{share:.0%} of {sustainable:,.0f} events a second")
            yield _step(stack, share, share * sustainable, number * MARKS)


def _of_backlog(stack: Stack, tell: Tell) -> tuple[Section, float]:
    """What a backlog costs, sender included, and the events a second that the cores could do of it."""
    conf = stack.settings
    tell("making a backlog")
    begin = datetime.now(UTC) - timedelta(seconds=BACKLOG_SECONDS)
    made = list(pieces(70, begin, BACKLOG_RATE, BACKLOG_SECONDS))
    stack.pause("worker")
    used = {name: -cpu_seconds(stack.pid(name)) for name in (*PROCESSES, *SERVERS)}
    with UsageProducer(conf) as producer:
        keys = [key for batch in made for key in record_keys(batch)]
        values = [value for batch in made for value in encode_batch(batch, producer.prefix)]
        used["sender"] = -time.process_time()
        producer.send_many(keys, values)
        producer.flush()
        used["sender"] += time.process_time()
    stack.resume("worker")
    client = connect(conf)
    until(stack, lambda: min(int(client.query(sql).result_rows[0][0]) for sql in stored(conf)), len(keys), 0.25)
    for name in (*PROCESSES, *SERVERS):
        used[name] += cpu_seconds(stack.pid(name))
    micros = {name: spent / len(keys) * 1e6 for name, spent in used.items()}
    section = Section(
        "The sustainable rate",
        f"{len(keys):,} events, encoded beforehand, were sent while the worker was stopped, and then became rows and "
        f"windows: what {CORES} cores could do by the processor time that an event took of all of them together. A "
        "live stream comes in smaller blocks, which cost more: sustainable is the greatest rate, of "
        f"{', '.join(f'{share:.0%}' for share in TRIED)} of that, at whose end, after {TRIED_SECONDS:.0f} s, less than "
        f"{BEHIND_SECONDS:.0f} s of events lacked their rows.",
    )
    for name, cost in micros.items():
        section.micros(f"processor time of the {name}", cost)
    of_backlog = CORES / sum(micros.values()) * 1e6
    section.rate("of a backlog", of_backlog)
    return section, of_backlog


def _sustainable(stack: Stack, of_backlog: float, section: Section, tell: Tell) -> float:
    """The greatest live rate that was kept up with.

    Raises:
        Halt: none was.
    """
    for share in TRIED:
        rate = share * of_backlog
        tell(f"trying {rate:,.0f} events a second")
        sent = _send(stack, rate, TRIED_SECONDS)
        waits = sent.missing / rate
        section.rate(f"tried: {waits:.1f} s behind at its end, with", rate)
        if waits < BEHIND_SECONDS:
            section.rate("sustainable", rate)
            return rate
    raise Halt(f"not even {TRIED[-1]:.0%} of what a backlog allows was kept up with")


@dataclass(frozen=True)
class _Sent:
    """What became of a stream: when it began, seconds since 1970; `missing` rows when its last event was due."""

    begin: float
    said: dict[str, int]
    rows: Rows
    busy: dict[str, float]
    emitted: np.ndarray
    waits: np.ndarray
    behind: int  # rows that never came
    missing: int


def _send(stack: Stack, rate: float, seconds: float, marks: int = 0, first: int = 0) -> _Sent:
    """Send at a rate for a while, and look until all rows are there."""
    name = f"paced-{rate:.0f}"
    rows = Rows(stack.settings)
    given = {"rate": rate, "seconds": seconds, "settle": SETTLE_SECONDS, "marks": marks, "first": first}
    arguments = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    stack.spawn(name, sys.executable, "-m", "benchmarks.paced_traffic", *arguments)
    while "begins" not in (said := said_by(stack, name)):
        stack.check()
        time.sleep(0.1)
    begin = said["begins"] / 1e6
    time.sleep(max(0.0, begin - time.time()))
    busy = _watch(stack, rows, name, begin + SETTLE_SECONDS, begin + seconds)
    said = said_by(stack, name)
    stack.kill(name)
    behind = said["sent"] - rows.count
    emitted, waits = rows.waits()
    missing = int((emitted + waits > begin + seconds).sum()) + behind
    return _Sent(begin, said, rows, busy, emitted, waits, behind, missing)


def _step(stack: Stack, share: float, rate: float, first: int) -> Section:
    """How long rows and alerts take at a rate."""
    told_before, seconds = end_of_alerts(stack), SETTLE_SECONDS + SECONDS
    sent = _send(stack, rate, seconds, MARKS, first)
    said, emitted, waits = sent.said, sent.emitted, sent.waits
    alerted = alert_waits(stack, told_before, {word: at for word, at in said.items() if word.startswith("marked-")})
    wanted = WANTED_SECONDS if share == WANTED_SHARE else 0.0
    section = Section(
        f"Latency at {share:.0%} of the sustainable rate",
        f"{said['sent']:,} events encoded beforehand, each sent at the moment that is its `time`, {rate:,.0f} a second "
        f"for {seconds:.0f} s, of which the first {SETTLE_SECONDS:.0f} do not count. From that moment to the end of "
        f"the first query that sees the row (one every {sent.rows.interval * 1000:.0f} ms), and to the Kafka timestamp "
        f"of the alert of {MARKS} calls that cross a budget each. Blocks wait SPEND_BLOCK_SECONDS="
        f"{stack.settings.block_seconds:g} for more, the sender 20 ms.",
    )
    add_waits(section, waits[emitted > sent.begin + SETTLE_SECONDS], wanted, "event to row: ")
    if len(alerted):
        add_waits(section, alerted, wanted, "event to alert: ")
    section.figures.append(Figure("alerts", f"{len(alerted)} of {MARKS}", met=len(alerted) == MARKS))
    section.figures.append(Figure("the sender's most delay", f"{said['late'] / 1e6:.2f} s"))
    section.figures.append(Figure("its processor time, with the 10 ms clock", "", f"{said['processor'] / 1e3:.2f} µs"))
    section.figures.append(Figure("rows not there when the last event was due", f"{sent.missing:,}"))
    section.figures.append(Figure("last row after the last event", f"{(emitted + waits).max() - emitted.max():.2f} s"))
    if sent.behind:
        section.figures.append(Figure(f"rows not there {_PATIENCE_SECONDS:.0f} s later", f"{sent.behind:,}", met=False))
    for part, cores in sent.busy.items():
        section.figures.append(Figure(f"processor of the {part}", f"{cores:.2f} cores"))
    return section


def _watch(stack: Stack, rows: Rows, sender: str, start: float, end: float) -> dict[str, float]:
    """Look until all that was sent is there; the cores that each process kept busy from `start` to `end`."""
    parts = (*PROCESSES, *SERVERS, sender)
    used: dict[str, float] = {}
    busy: dict[str, float] = {}
    sent = 0
    while True:
        now = rows.look()
        if not used and now >= start:
            used, began = {name: cpu_seconds(stack.pid(name)) for name in parts}, now
        if not busy and now >= end:
            busy = {name: (cpu_seconds(stack.pid(name)) - used[name]) / (now - began) for name in parts}
            busy["sender"] = busy.pop(sender)
        if now >= end:
            sent = sent or said_by(stack, sender).get("sent", 0)
            if sent and rows.count >= sent:
                return busy
        if now > end + _PATIENCE_SECONDS:
            if not sent:
                raise Halt(f"the sender did not end; see {stack.log(sender)}")
            return busy
        time.sleep(POLL_SECONDS)
