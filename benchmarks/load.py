"""`python -m benchmarks.load`: a backlog, more than can be taken, and kill -9 in mid-stream, on Apache Kafka.

Three questions, one after the other, on one stack with budgets and detectors on:

- how fast a backlog of events becomes rows and windows, what each process costs, and how much memory it takes;
- what becomes of a stream three times as fast as that: Kafka keeps what waits, and no process may grow by it;
- how soon the stream goes on when a process, or the broker, was killed in the middle of live traffic.

`--audit` recomputes every event at the end, which takes a minute for each half million.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaException
from rich.console import Console

from benchmarks import figures
from benchmarks.consumer_lag import PRICE, WINDOWS, ends, lag, until_level
from benchmarks.figures import Figure, Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.machine import cpu_seconds, machine, peak_memory, served_first
from benchmarks.over_kafka import Tell, audit, count_rows, rows_now
from benchmarks.soak import PARTS, give_budgets, stop_traffic
from benchmarks.traffic import Traffic, send, traffic
from schemas.registry import write_prefix
from streams import topics
from streams.errors import Halt, SpendError
from streams.kafka import reader
from streams.producer import UsageProducer
from streams.settings import Settings
from streams.supervisor import SERVERS, Stack

LIVE_RATE = 5_000  # events a second
ROUND = 500_000  # events that are made at once: a gigabyte while they are
EVERY_SECONDS = 0.25
TIMES, OFFER_SECONDS = 3, 25.0
GROWN_MB = 200.0
SETTLE_SECONDS = 10.0
PATIENCE_SECONDS = 120.0
WANTED_SECONDS = 15.0
# What shows that the stream goes on when a part was killed and started again.
GOES_ON = {"worker": ("block",), "sink": ("row",), "windows": ("window",), "broker": ("block", "row", "window")}


def measure(events: int, with_audit: bool, tell: Tell) -> Iterator[Section]:
    """Run everything on one stack; yields sections as they are done.

    Raises:
        SpendError: a process ended, nothing moves, or the audit found a difference.
    """
    with fresh_stack(tell, broker="kafka") as stack:
        give_budgets(stack)
        rows = 0
        for seed, count in enumerate(_rounds(events), start=101):
            rows += send(stack.settings, count, seed).events
            tell(f"{rows:,} events lie in spend.usage")
        section, rate = _backlog(stack, rows)
        yield section
        yield _pressure(stack, rate, tell)
        yield _recovery(stack, tell)
        if with_audit:
            yield audit(stack, tell)


def _rounds(events: int) -> list[int]:
    """So many events in equal parts that are made one after the other."""
    parts = -(-events // ROUND)
    return [events // parts] * parts


def _backlog(stack: Stack, rows: int) -> tuple[Section, float]:
    """From the start of the worker to the last row, and to the last window; rows a second."""
    for part in ("windows", "sink"):
        stack.start(part)
    began, used = time.perf_counter(), {part: -cpu_seconds(stack.pid(part)) for part in PARTS if part != "worker"}
    stack.start("worker")
    used["worker"] = -cpu_seconds(stack.pid("worker"))
    rate = rows / (count_rows(stack, rows, EVERY_SECONDS)[-1].at - began)
    until_level(stack, *WINDOWS)
    seconds = time.perf_counter() - began
    section = Section(
        "A backlog",
        f"{rows:,} events, a day of traffic a round of {ROUND:,}, were in spend.usage ({stack.settings.partitions} "
        "partitions) before worker, windows worker and sink started; from the start of the worker to the last row that "
        "a query sees, and until the windows worker has nothing left to do. Processor time and most memory to then.",
    )
    section.rate("topic to row", rate, unit="rows/s")
    section.ratio(f"against {LIVE_RATE:,} live events a second", rate / LIVE_RATE, 3)
    section.rate("topic to windows", rows / seconds)
    section.figures.append(Figure("windows caught up", f"{seconds - rows / rate:.1f} s after the last row"))
    for part in PARTS:
        spent = used[part] + cpu_seconds(stack.pid(part))
        section.figures.append(Figure(f"{part}: processor time", f"{spent:.1f} s", f"{spent / rows * 1e6:.1f} µs"))
        section.most(f"{part}: most memory", peak_memory(stack.pid(part)), "MB")
    return section, rate


def _pressure(stack: Stack, sustained: float, tell: Tell) -> Section:
    """Offer `TIMES` as much as is taken, and see what grows."""
    offered = TIMES * sustained
    tell(f"making {offered * OFFER_SECONDS:,.0f} events beforehand")
    prefix = write_prefix(stack.settings)
    made = [traffic(count, seed, prefix) for seed, count in enumerate(_rounds(int(offered * OFFER_SECONDS)), start=201)]
    records, rows = sum(len(each.keys) for each in made), sum(each.events for each in made)
    before = rows_now(stack.settings)
    memory = {part: peak_memory(stack.pid(part)) for part in PARTS}
    began = time.perf_counter()
    most = _offer(stack, made, offered)
    ended = time.perf_counter()
    meanwhile = rows_now(stack.settings) - before
    count_rows(stack, before + rows, EVERY_SECONDS)
    until_level(stack, *WINDOWS)
    level = time.perf_counter() - ended
    waited = most * made[0].bytes_each / 1e6
    section = Section(
        f"{TIMES} times as much as is taken",
        f"{records:,} records made beforehand, offered at {TIMES} times the rate above for {OFFER_SECONDS:.0f} s. "
        "Producer and broker go before all others on the cores (nice -10), as those of a company would have their own. "
        "A process that ends by itself would end this run. Memory is the most before and after: "
        f"{waited:,.0f} MB of events waited.",
    )
    section.rate("offered", offered)
    section.rate("taken by Kafka", records / (ended - began), 0.9 * offered)
    section.rate("made rows meanwhile", meanwhile / (ended - began), unit="rows/s")
    section.figures.append(Figure("most lag of the worker", f"{most:,} records"))
    section.figures.append(Figure("from the last event to no lag, windows too", f"{level:.1f} s"))
    for part in PARTS:
        after = peak_memory(stack.pid(part))
        limit = f"at most {GROWN_MB:g} MB more" if part not in SERVERS else ""
        met = not limit or after - memory[part] <= GROWN_MB
        section.figures.append(Figure(f"{part}: most memory", f"{memory[part]:.0f} → {after:.0f} MB", "", limit, met))
    return section


def _offer(stack: Stack, made: list[Traffic], rate: float) -> int:
    """Send at a rate until Kafka has acknowledged all of it; the most lag that the worker had."""
    most, sent, step = 0, 0, int(rate / 20)
    began = looked = time.perf_counter()
    with (
        lag(stack.settings, *PRICE) as behind,
        UsageProducer(stack.settings) as producer,
        served_first(os.getpid(), stack.pid("broker")),
    ):
        for each in made:
            for start in range(0, len(each.keys), step):
                time.sleep(max(0.0, began + sent / rate - time.perf_counter()))
                producer.send_many(each.keys[start : start + step], each.values[start : start + step])
                sent += min(step, len(each.keys) - start)
                if time.perf_counter() - looked > 1:
                    most, looked = max(most, behind()), time.perf_counter()
                    stack.check()
        producer.flush()
        return max(most, behind())


def _recovery(stack: Stack, tell: Tell) -> Section:
    """SIGKILL a part in mid-stream, start it again at once, and wait for what it makes."""
    section = Section(
        "Killed in mid-stream",
        f"{LIVE_RATE:,} live events a second; SIGKILL, and started again at once: from the kill to the first new block "
        "on spend.priced, row or window after it was ready. A member that died is missed after "
        f"SPEND_SESSION_TIMEOUT_SECONDS={stack.settings.session_timeout_seconds:g}, which is part of the figures.",
    )
    before = rows_now(stack.settings)
    stack.spawn("traffic", sys.executable, "-m", "streams.sample.live", "--rate", str(LIVE_RATE), "--seed", "81")
    for part in GOES_ON:
        stack.wait(SETTLE_SECONDS)
        for made, seconds in recover(stack, part).items():
            tell(f"{part} killed: first {made} after {seconds:.1f} s")
            section.most(f"{part}: first {made}", seconds, "s", WANTED_SECONDS)
    stack.wait(SETTLE_SECONDS)
    rows = before + stop_traffic(stack)
    stopped = time.perf_counter()
    count_rows(stack, rows, EVERY_SECONDS)
    until_level(stack, *WINDOWS)
    section.most("from the stream's end to no lag", time.perf_counter() - stopped, "s")
    return section


def counters(conf: Settings, looker: Consumer) -> dict[str, Callable[[], int]]:
    """What counts the blocks, rows and blocks of windows that there are."""
    return {
        "block": lambda: ends(looker, topics.PRICED, conf.partitions),
        "row": lambda: rows_now(conf),
        "window": lambda: ends(looker, topics.WINDOWS, conf.partitions),
    }


def recover(stack: Stack, part: str) -> dict[str, float]:
    """Seconds from the kill of a part to each thing that shows the stream going on."""
    conf = stack.settings
    killed = time.perf_counter()
    stack.kill(part)
    stack.start(part)
    looker = reader(conf)
    counts = counters(conf, looker)
    before: dict[str, int] = {}
    seconds: dict[str, float] = {}
    try:
        while len(seconds) < len(GOES_ON[part]):
            stack.check()
            for made in GOES_ON[part]:
                try:
                    count = counts[made]()
                except KafkaException:
                    continue  # a broker answers for its partitions a moment after it is there
                if count > before.setdefault(made, count):
                    seconds.setdefault(made, time.perf_counter() - killed)
            if time.perf_counter() - killed > PATIENCE_SECONDS:
                raise Halt(f"the {part} was killed, and the stream does not go on in {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.05)
    finally:
        looker.close()
    return {made: seconds[made] for made in GOES_ON[part]}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=5_000_000, help="events of the backlog (5000000)")
    parser.add_argument("--audit", action="store_true", help="recompute every event at the end")
    args = parser.parse_args()
    console = Console(width=130)
    for name, value in machine():
        console.print(f"{name}: {value}", highlight=False)
    met = True
    try:
        for section in measure(args.events, args.audit, lambda line: console.print(f"[dim]{line}[/dim]")):
            console.print(figures.table(section))
            met = met and all(figure.met for figure in section.figures)
    except SpendError as exc:
        console.print(f"[red]{exc}[/red]")
        return exc.exit_code
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
