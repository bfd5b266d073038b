"""Cold start to the first priced event, and recovery after kill -9, on the embedded broker and database."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_connect.driver.exceptions import ClickHouseError

from benchmarks.figures import Figure, Section
from benchmarks.load import counters, recover
from benchmarks.over_kafka import count_rows, rows_now
from benchmarks.soak import stop_traffic
from benchmarks.traffic import send
from clickhouse.client import connect
from schemas.usage_event import UsageEvent
from streams import embedded
from streams.errors import Halt, SpendError
from streams.kafka import reader
from streams.producer import UsageProducer
from streams.settings import Settings
from streams.supervisor import PROCESSES, SERVERS, STEPS, Stack, on_free_ports

# What shows that a process works, in the order of the data; the sink last, so that rows come from blocks at hand.
MAKES = {"worker": ("block", "the first block published"), "windows": ("window", "the first block of windows"),
         "sink": ("row", "the first row queryable")}  # fmt: skip
BACKLOG = 50_000
LIVE_RATE = 2_000  # events a second
SETTLE_SECONDS = 2.0
WANTED_SECONDS = 15.0
_PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.02

Tell = Callable[[str], None]


def measure(tell: Tell) -> Iterator[Section]:
    """One stack: all of it from nothing, then each process on a backlog, then each killed in a live stream.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    with tempfile.TemporaryDirectory(prefix="spendstream-bench-") as folder:
        conf = on_free_ports(Settings(state_dir=Path(folder)))
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(_first_row, conf, time.perf_counter())
            with Stack(conf, parts=(*SERVERS, *STEPS, *PROCESSES), tell=tell) as stack:
                answered, queryable = first.result()
                yield _cold(stack, answered, queryable)
                yield _killed(stack, tell)


def _first_row(conf: Settings, began: float) -> tuple[float, float]:
    """Seconds from `began` until the broker answers, and until the row of an event that is sent then can be queried."""
    broker, database = embedded.broker(conf), embedded.database(conf)
    _until(broker.ready, "the broker does not answer")
    answered = time.perf_counter() - began
    with UsageProducer(conf) as producer:  # the event waits here until there is a topic
        producer.send(UsageEvent(source="start", time=datetime.now(UTC), provider="openai", request_model="gpt-5-mini",
                                 operation="chat", input_tokens=1_000, output_tokens=100))  # fmt: skip

    def row() -> bool:
        try:
            return rows_now(conf) > 0
        except (SpendError, ClickHouseError):
            return False  # the table is not there yet

    _until(database.ready, "the database does not answer")
    _until(row, "the first event does not become a row")
    return answered, time.perf_counter() - began


def _cold(stack: Stack, answered: float, queryable: float) -> Section:
    """Each process alone, after the whole."""
    conf = stack.settings
    for part in reversed(PROCESSES):
        stack.stop(part)
    rows = rows_now(conf) + send(conf, BACKLOG, seed=63).events
    section = Section(
        "Cold start",
        "The whole stack (embedded broker and database, topics, migrations, all processes) until a query sees the row "
        "of an event that was given to a producer as soon as the broker answered. Then each process alone, from its "
        f"being spawned, on {BACKLOG:,} events or their blocks that lie there. Joining a group takes the embedded "
        f"broker half of SPEND_SESSION_TIMEOUT_SECONDS={conf.session_timeout_seconds:g}.",
    )
    section.most("the whole stack: the broker answers", answered, "s")
    section.most("the whole stack: the first priced row", queryable, "s")
    for part, (made, words) in MAKES.items():
        section.most(f"{part}: {words}", _first(stack, part, made), "s")
    count_rows(stack, rows)
    return section


def _first(stack: Stack, part: str, made: str) -> float:
    """Seconds from the spawning of a process, beside which none makes the same, until there is more of it."""
    looker = reader(stack.settings)
    try:
        count = counters(stack.settings, looker)[made]
        before = count()
        began = time.perf_counter()
        with ThreadPoolExecutor(1) as thread:
            started = thread.submit(stack.start, part)
            _until(lambda: count() > before, f"the {part} makes nothing")
            seconds = time.perf_counter() - began
            started.result()
    finally:
        looker.close()
    return seconds


def _killed(stack: Stack, tell: Tell) -> Section:
    """SIGKILL each process in a live stream, and count the rows in the end."""
    conf = stack.settings
    section = Section(
        "Killed in a live stream, embedded broker",
        f"{LIVE_RATE:,} live events a second; SIGKILL, and started again at once: from the kill to what it makes first "
        "after it was ready. A member that died is missed after SPEND_SESSION_TIMEOUT_SECONDS="
        f"{conf.session_timeout_seconds:g}, and the embedded broker takes half of it for a join: both are part of the "
        "figures.",
    )
    before = rows_now(conf)
    stack.spawn("traffic", sys.executable, "-m", "streams.sample.live", "--rate", str(LIVE_RATE), "--seed", "64")
    for part, (made, words) in MAKES.items():
        stack.wait(SETTLE_SECONDS)
        seconds = recover(stack, part)[made]
        tell(f"{part} killed: {words} after {seconds:.1f} s")
        section.most(f"{part}: {words}", seconds, "s", WANTED_SECONDS)
    stack.wait(SETTLE_SECONDS)
    sent = stop_traffic(stack)
    ended = time.perf_counter()
    count_rows(stack, before + sent)
    section.most("from the stream's end to the last row", time.perf_counter() - ended, "s")
    stack.wait(SETTLE_SECONDS)  # in which rows too many would come
    rows, distinct = (
        connect(conf)
        .query(f"SELECT count(), uniqExact(source, id) FROM {conf.clickhouse_database}.usage")
        .result_rows[0]
    )
    right = rows == distinct == before + sent
    section.figures.append(Figure("events sent", f"{before + sent:,}"))
    section.figures.append(Figure("rows; of different events", f"{rows:,}; {distinct:,}", "", "each once", right))
    return section


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > give_up:
            raise Halt(f"{otherwise} in {_PATIENCE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
