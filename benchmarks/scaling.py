"""`python -m benchmarks.scaling`: 1, 2 and 4 workers, windows workers and sinks, on Apache Kafka, and what follows.

There are four partitions however many processes share them: then every run has the same work, and what differs is the
number of processes alone. Each kind works alone, on a backlog that lies there, and all of a kind begin at one moment:
they have joined, taken their partitions over and done a little before, were stopped (SIGSTOP) while their backlog came,
and go on together (SIGCONT).

On few cores more processes cannot be faster than one that has the cores to itself. What carries over to other machines
is the processor time of an event: where it stays the same, so many cores do so many times as much. From it, and from
what live traffic takes of each process, follows the sizing table, which is printed last.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from benchmarks import figures, sizing
from benchmarks.consumer_lag import COPIES, PRICE, WINDOWS, until_level
from benchmarks.figures import Figure, Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.machine import cpu_seconds, machine, peak_memory
from benchmarks.over_kafka import Tell, count_rows
from benchmarks.soak import PARTS, give_budgets
from benchmarks.traffic import Traffic, send, traffic
from clickhouse.client import connect
from streams.apache_kafka import folder
from streams.errors import SpendError
from streams.producer import UsageProducer
from streams.supervisor import SERVERS, Stack

COUNTS = (1, 2, 4)
PARTITIONS = 4
WARM_EVENTS = 20_000
LIVE_RATE, LIVE_SECONDS, SETTLE_SECONDS = 2_000, 30.0, 10.0
# A stopped process must not be missed, nor take the time for a stall; a sink ends when it was stopped for a minute.
PATIENT = {"session_timeout_seconds": 60.0, "stall_seconds": 600.0}
TAKEN_OVER = {"worker": "spend.usage", "windows": "spend.totals", "sink": "spend.priced"}  # partitions, in the logs


@dataclass(frozen=True)
class Drain:
    """So many processes of a kind over a backlog: seconds, processor seconds by part of the stack, MB of each."""

    seconds: float
    used: dict[str, float]
    memory: list[float]
    taken_over: int

    def own(self) -> float:
        """Processor seconds of the processes together."""
        return sum(spent for name, spent in self.used.items() if name not in SERVERS)


def run(count: int, backlog: Traffic, tell: Tell) -> tuple[dict[str, Drain], sizing.Measured | None]:
    """Let `count` of each kind do the backlog; of one of each also what sizes follow from.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    names = {kind: [kind, *(f"{kind}-{number}" for number in range(2, count + 1))] for kind in sizing.PROCESSES}
    processes = [name for each in names.values() for name in each]
    with fresh_stack(tell, *processes, broker="kafka", partitions=PARTITIONS, **PATIENT) as stack:
        give_budgets(stack)
        warm = send(stack.settings, WARM_EVENTS, seed=301).events
        level: dict[str, Callable[[], object]] = {
            "worker": lambda: until_level(stack, *PRICE),
            "windows": lambda: until_level(stack, *WINDOWS),
            "sink": lambda: (count_rows(stack, warm + backlog.events, 0.1), until_level(stack, *COPIES)),
        }
        level["worker"]()
        level["windows"]()
        count_rows(stack, warm)
        until_level(stack, *COPIES)
        for name in processes:
            stack.pause(name)
        broker = -cpu_seconds(stack.pid("broker"))
        tell(f"sending {len(backlog.keys):,} records")
        with UsageProducer(stack.settings) as producer:
            producer.send_many(backlog.keys, backlog.values)
        drains = {kind: _drain(stack, kind, names[kind], level[kind]) for kind in names}
        broker += cpu_seconds(stack.pid("broker"))
        return drains, _measured(stack, drains, broker, backlog.events) if count == 1 else None


def _drain(stack: Stack, kind: str, names: list[str], level: Callable[[], object]) -> Drain:
    """Let go on, wait until nothing is left, and stop again, so that the next kind is alone; sinks are the last."""
    used = {name: -cpu_seconds(stack.pid(name)) for name in (*names, *SERVERS)}
    began = time.perf_counter()
    for name in names:
        stack.resume(name)
    level()
    seconds = time.perf_counter() - began
    for name in used:
        used[name] += cpu_seconds(stack.pid(name))
    for name in names:
        if kind != "sink":
            stack.pause(name)
    logs = "".join(stack.log(name).read_text() for name in names)
    taken_over = len(re.findall(rf"{re.escape(TAKEN_OVER[kind])} partition \d+: (?:next offset|from block)", logs))
    return Drain(seconds, used, [peak_memory(stack.pid(name)) for name in names], taken_over)


def _measured(stack: Stack, drains: dict[str, Drain], broker: float, events: int) -> sizing.Measured:
    """Costs: of an event from the backlog; of a partition what live traffic takes beyond that."""
    conf = stack.settings
    logs = sum(path.stat().st_size for path in folder(conf, "broker").glob("data/spend.*/*.log"))
    for kind in ("worker", "windows"):
        stack.resume(kind)
    stack.spawn("traffic", sys.executable, "-m", "streams.sample.live", "--rate", str(LIVE_RATE), "--seed", "91")
    stack.wait(SETTLE_SECONDS)
    began, live = time.perf_counter(), {part: -cpu_seconds(stack.pid(part)) for part in PARTS}
    stack.wait(LIVE_SECONDS)
    seconds = time.perf_counter() - began
    for part in PARTS:
        live[part] += cpu_seconds(stack.pid(part))
    stack.stop("traffic")
    spent = {kind: drains[kind].own() for kind in drains}
    spent |= {"clickhouse": drains["sink"].used["clickhouse"], "broker": broker}
    micros = {part: spent[part] / events * 1e6 for part in PARTS}
    idle = {part: max(0.0, live[part] / seconds - micros[part] * LIVE_RATE / 1e6) / PARTITIONS for part in PARTS}
    sql = (
        "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts "
        f"WHERE active AND database = '{conf.clickhouse_database}' AND table = 'usage'"
    )
    costs = {part: sizing.Cost(micros[part], idle[part]) for part in PARTS}
    return sizing.Measured(costs, logs / (events + WARM_EVENTS), float(connect(conf).query(sql).result_rows[0][0]))


def sections(drains: dict[int, dict[str, Drain]], events: int) -> list[Section]:
    """A section a kind, with a group of lines for each number of processes."""
    found = []
    for kind, words in sizing.PROCESSES.items():
        one = drains[COUNTS[0]][kind]
        section = Section(
            f"Scaling: {words}",
            f"{events:,} events lay in {PARTITIONS} partitions, which is the most lag. Efficiency is speed against so "
            "many times that of one; in processor time, what an event costs one against what it costs each of many: "
            f"what more cores give. This machine has {os.cpu_count()}, which broker and database share.",
        )
        for count, each in drains.items():
            drain = each[kind]
            busy = sum(drain.used.values()) / drain.seconds
            name = f"{count} {words if count > 1 else words.removesuffix('s')}"
            section.rate(name, events / drain.seconds)
            speed, work = one.seconds / drain.seconds / count, one.own() / drain.own()
            section.figures += [
                Figure("efficiency; in processor time", f"{speed:.0%}; {work:.0%}"),
                Figure("processor time", f"{drain.own():.1f} s", f"{drain.own() / events * 1e6:.1f} µs"),
                *(
                    Figure(f"that of the {s}", f"{drain.used[s]:.1f} s", f"{drain.used[s] / events * 1e6:.1f} µs")
                    for s in SERVERS
                ),
                Figure("cores busy", f"{busy:.2f} of {os.cpu_count()}"),
                Figure("most memory of each", ", ".join(f"{mb:.0f}" for mb in drain.memory) + " MB"),
                Figure(f"partitions taken over, {PARTITIONS} a rebalance", f"{drain.taken_over}"),
            ]
        found.append(section)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--events", type=int, default=600_000, help="events of each backlog, up to a million or so (600000)"
    )
    args = parser.parse_args()
    console = Console(width=130)
    for name, value in machine():
        console.print(f"{name}: {value}", highlight=False)
    backlog = traffic(args.events, seed=302)
    drains: dict[int, dict[str, Drain]] = {}
    measured = None
    try:
        for count in COUNTS:
            console.print(f"{count} of each", highlight=False)
            drains[count], found = run(count, backlog, lambda line: console.print(f"[dim]{line}[/dim]"))
            measured = measured or found
    except SpendError as exc:
        console.print(f"[red]{exc}[/red]")
        return exc.exit_code
    for section in sections(drains, backlog.events):
        console.print(figures.table(section))
    if measured is not None:
        for part, cost in measured.costs.items():
            print(f"{part}: {cost.micros:.1f} µs an event, and {cost.idle:.3f} cores a partition")
        print(f"Kafka: {measured.kafka_bytes:.0f} bytes an event; ClickHouse: {measured.row_bytes:.0f} bytes a row\n")
        print(sizing.table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
