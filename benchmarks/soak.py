"""`python -m benchmarks.soak`: an hour of live traffic, and whether anything grows that should not.

The whole stack on Apache Kafka (`--broker embedded` for the other), budgets and detectors included, under a steady
stream. Memory is looked at every few seconds; its slope over the second half says what an hour more would cost. A
windows worker grows by the windows that it keeps, minutes for SPEND_MINUTE_HOURS: how many came about is printed, too.
At the end every event that was sent must be a row, and the rollups and windows must equal the rows.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from benchmarks import figures
from benchmarks.figures import Figure, Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.machine import cpu_seconds, resident_memory
from clickhouse.client import connect
from streams.spend.window_sums import WIDTH
from streams.supervisor import PROCESSES, Stack

PARTS = ("worker", "windows", "sink", "clickhouse", "broker")
EVERY_SECONDS = 10.0
DRAIN_SECONDS = 60.0
HORIZON = 1_000_000  # offsets a partition: full after a quarter of an hour, until which the index grows, as it should
FLAT_MB = 50.0  # an hour, of what the project's own processes may grow
KEPT = "SELECT uniqExact(level, dimension, member, start) FROM windows"
BYTES = 8 * (WIDTH + 3)  # of a window: its measures, version, key and column
EQUAL = """
    SELECT 'rows' AS of, toInt64(count()) AS calls, sum(cost_total) AS usd FROM usage
    UNION ALL SELECT 'rollup', sum(calls), sum(cost_total) FROM usage_15m
    UNION ALL SELECT 'windows of days', sum(calls), sum(cost_total)
        FROM windows FINAL WHERE level = 'day' AND dimension = 'global'
"""


@dataclass(frozen=True)
class Look:
    """Resident memory of each part, MB, and rows that are there, `at` seconds after the start."""

    at: float
    memory: dict[str, float]
    rows: int


def measure(stack: Stack, rate: int, seconds: float, tell: Console) -> Section:
    """Keep a stream of `rate` events a second up for so long."""
    client = connect(stack.settings)
    client.database = stack.settings.clickhouse_database
    stack.spawn("traffic", sys.executable, "-m", "streams.sample.live", "--rate", str(rate), "--seed", "71")
    began = time.monotonic()
    used = {part: -cpu_seconds(stack.pid(part)) for part in PARTS}
    looks: list[Look] = []
    kept: list[int] = []  # windows, at half and at the end
    while (elapsed := time.monotonic() - began) < seconds:
        stack.check()
        rows = int(client.query("SELECT count() FROM usage").result_rows[0][0])
        looks.append(Look(elapsed, {part: resident_memory(stack.pid(part)) for part in PARTS}, rows))
        if not kept and elapsed > seconds / 2:
            kept.append(int(client.query(KEPT).result_rows[0][0]))
        if len(looks) % 30 == 1:
            memory = ", ".join(f"{part} {looks[-1].memory[part]:.0f}" for part in PARTS)
            tell.print(f"{elapsed:5.0f} s  {rows:,} rows  MB: {memory}", highlight=False)
        time.sleep(EVERY_SECONDS)
    sent = stop_traffic(stack)
    give_up = time.monotonic() + DRAIN_SECONDS
    while True:
        found = {of: (calls, usd) for of, calls, usd in client.query(EQUAL).result_rows}
        if set(found.values()) == {(sent, found["rows"][1])} or time.monotonic() > give_up:
            break
        time.sleep(0.5)
    kept.append(int(client.query(KEPT).result_rows[0][0]))
    for part in PARTS:
        used[part] += cpu_seconds(stack.pid(part))
    section = Section(
        "Soak",
        f"{rate:,} live events a second for {seconds / 60:.0f} minutes on {stack.settings.broker}, budgets and "
        f"detectors on, a dedup index of {HORIZON:,} offsets a partition, which is full long before half of it. "
        f"Resident memory every {EVERY_SECONDS:.0f} s, slope by least squares over the second half.",
    )
    section.figures.append(Figure("events sent", f"{sent:,}"))
    for name, (calls, usd) in sorted(found.items()):
        same = (calls, usd) == (sent, found["rows"][1])
        section.figures.append(Figure(name, f"{calls:,} calls, {usd} USD", "", "as many, the same sum", same))
    hourly = (kept[-1] - kept[0]) * BYTES / 1e6 / (seconds / 2 / 3600)
    section.figures.append(Figure("windows at half and end", f"{kept[0]:,} {kept[-1]:,}", f"{hourly:.0f} MB an hour"))
    for part in PARTS:
        most = FLAT_MB if part in ("worker", "windows", "sink") else 0.0
        slope = growth([look.at for look in looks], [look.memory[part] for look in looks])
        limit = f"under {most:g}" if most else ""
        each = f"{used[part] / sent * 1e6:.1f} µs"
        section.figures.append(Figure(f"{part}: processor time", f"{used[part]:.0f} s", each))
        section.figures.append(
            Figure(
                f"{part}: memory at a quarter, half, end",
                " ".join(f"{looks[int(share * (len(looks) - 1))].memory[part]:.0f}" for share in (0.25, 0.5, 1))
                + " MB",
            )
        )
        section.figures.append(
            Figure(f"{part}: memory's slope", f"{slope:+.0f} MB an hour", "", limit, not most or slope < most)
        )
    return section


def give_budgets(stack: Stack) -> None:
    """A budget for all spend and one for each customer, so that the windows worker has something to say."""
    stack.run("budgets", "create", "Everything", "--scope", "global", "--limit", "1000000")
    stack.run("budgets", "create", "Each customer", "--scope", "customer", "--member", "*", "--limit", "10000")


def stop_traffic(stack: Stack) -> int:
    """End the live traffic that was spawned as `traffic`; how many events it has sent, each acknowledged."""
    stack.stop("traffic")
    return int(stack.log("traffic").read_text().split()[-3])


def growth(at: Sequence[float], values: Sequence[float]) -> float:
    """How much a value grows an hour, by least squares over the second half of the looks; `at` in seconds."""
    half = len(at) // 2
    return float(np.polyfit(np.array(at[half:]) / 3600, np.array(values[half:]), 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=int, default=5_000, help="events a second (5000)")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    args = parser.parse_args()
    console = Console(width=130)
    with fresh_stack(lambda _: None, *PROCESSES, broker=args.broker, dedup_horizon=HORIZON) as stack:
        give_budgets(stack)
        section = measure(stack, args.rate, args.minutes * 60, console)
        console.print(figures.table(section))
        console.print(stack.run("audit", "--wait", "60") if args.minutes <= 10 else "", highlight=False)
    return 0 if all(figure.met for figure in section.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
