"""Event to queryable row and event to alert, under loads that are shares of what the machine can sustain."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

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

SHARES = (0.1, 0.5, 0.9)
WANTED_SHARE, WANTED_SECONDS = 0.5, 1.0
SETTLE_SECONDS, SECONDS = 4.0, 16.0
MARKS = 80  # of a step
POLL_SECONDS = 0.05
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
        section, sustainable = _sustainable(stack, tell)
        yield section
        made = [marked_budget(number) for number in range(MARKS * len(SHARES))]
        budgets.publish(stack.settings, {budget.id: budget for budget in made})
        settle(stack)
        for number, share in enumerate(SHARES):
            tell(f"{share:.0%} of {sustainable:,.0f} events a second")
            yield _step(stack, share, share * sustainable, number * MARKS)


def _sustainable(stack: Stack, tell: Tell) -> tuple[Section, float]:
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
    sustainable = CORES / sum(micros.values()) * 1e6
    section = Section(
        "The sustainable rate",
        f"{len(keys):,} events, encoded beforehand, were sent while the worker was stopped, and then became rows and "
        f"windows. Sustainable is {CORES} cores by the processor time that an event took of all of them together; a "
        "live stream comes in smaller blocks, which cost more.",
    )
    for name, cost in micros.items():
        section.micros(f"processor time of the {name}", cost)
    section.rate("sustainable", sustainable)
    return section, sustainable


def _step(stack: Stack, share: float, rate: float, first: int) -> Section:
    """Send at a rate for a while, and look at rows and alerts."""
    name = f"paced-{first}"
    told_before, rows = end_of_alerts(stack), Rows(stack.settings)
    seconds = SETTLE_SECONDS + SECONDS
    given = {"rate": rate, "seconds": seconds, "settle": SETTLE_SECONDS, "marks": MARKS, "first": first}
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
    alerted = alert_waits(stack, told_before, {word: at for word, at in said.items() if word.startswith("marked-")})
    wanted = WANTED_SECONDS if share == WANTED_SHARE else 0.0
    section = Section(
        f"Latency at {share:.0%} of the sustainable rate",
        f"{said['sent']:,} events encoded beforehand, each sent at the moment that is its `time`, {rate:,.0f} a second "
        f"for {seconds:.0f} s, of which the first {SETTLE_SECONDS:.0f} do not count. From that moment to the end of "
        f"the first query that sees the row (one every {rows.interval * 1000:.0f} ms), and to the Kafka timestamp of "
        f"the alert of {MARKS} calls that cross a budget each. Blocks wait SPEND_BLOCK_SECONDS="
        f"{stack.settings.block_seconds:g} for more, the sender 20 ms.",
    )
    add_waits(section, waits[emitted > begin + SETTLE_SECONDS], wanted, "event to row: ")
    if len(alerted):
        add_waits(section, alerted, wanted, "event to alert: ")
    section.figures.append(Figure("alerts", f"{len(alerted)} of {MARKS}", met=len(alerted) == MARKS))
    section.figures.append(Figure("the sender's most delay", f"{said['late'] / 1e6:.2f} s"))
    section.figures.append(Figure("its processor time, with the 10 ms clock", "", f"{said['processor'] / 1e3:.2f} µs"))
    missing = int((emitted + waits > begin + seconds).sum()) + behind
    section.figures.append(Figure("rows not there when the last event was due", f"{missing:,}"))
    section.figures.append(Figure("last row after the last event", f"{(emitted + waits).max() - emitted.max():.2f} s"))
    if behind:
        section.figures.append(Figure(f"rows not there {_PATIENCE_SECONDS:.0f} s later", f"{behind:,}", met=False))
    for part, cores in busy.items():
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
