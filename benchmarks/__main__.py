"""`make bench`: how fast each part is, and the whole, beside what people would use instead on the same data.

python -m benchmarks                     all but the last two; writes benchmarks/README.md and its pictures
python -m benchmarks --events 5000000    more events: more sustained, and the audit takes minutes
python -m benchmarks --only steps        the price agent's steps and the windows' alone, no servers
python -m benchmarks --only peers        ours beside Faust, Quix Streams, Bytewax, a plain loop, pricing packages
python -m benchmarks --only limits       each part alone, and the pipeline as a share of the slowest
python -m benchmarks --only growth       cost against members, batches, partitions and workers, ids of the dedup index
python -m benchmarks --only latency      event to row and event to alert at 10, 50 and 90 % of the sustainable rate
python -m benchmarks --only start        cold start, and kill -9 of each process in a live stream
python -m benchmarks --only panels       every panel of the dashboards over rollups of 100 million calls
python -m benchmarks --print             write nothing
python -m benchmarks --only windows      the windows worker: its steps, its state, its budgets
python -m benchmarks --only anomalies    the anomaly detector on labelled data
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable

from rich.console import Console

from benchmarks import (
    figures,
    growth,
    limits,
    loaded_latency,
    over_kafka,
    panels,
    quality,
    side_by_side,
    start,
    steps,
    windows,
    windows_steps,
)
from benchmarks.figures import Section
from benchmarks.machine import machine
from benchmarks.peers_venv import peers_python
from streams.errors import SpendError

ALONE = ("windows", "anomalies")  # when asked for: four minutes, one minute


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500_000, help="events of each run over the broker (500000)")
    parser.add_argument(
        "--only",
        choices=("steps", "kafka", "peers", "limits", "growth", "latency", "start", "panels", *ALONE),
        help="a part of it, and nothing is written",
    )
    parser.add_argument("--print", action="store_true", help="print the results and leave benchmarks/README.md alone")
    args = parser.parse_args()
    console = Console()
    facts = machine()
    started = time.monotonic()
    sections = []

    def tell(line: str) -> None:
        console.print(f"[dim]{line}[/dim]")

    parts: list[tuple[tuple[str, ...], Callable[[], Iterable[Section]]]] = [
        (("steps",), lambda: [steps.measure()]),
        (("steps", "windows"), lambda: [windows_steps.measure()]),
        (("kafka",), lambda: over_kafka.measure(args.events, tell)),
        (("peers",), lambda: side_by_side.measure(args.events, tell)),
        (("limits",), lambda: limits.measure(args.events, tell)),
        (("growth",), lambda: growth.measure(tell)),
        (("latency",), lambda: loaded_latency.measure(tell)),
        (("start",), lambda: start.measure(tell)),
        (("panels",), lambda: panels.measure(tell)),
    ]
    if args.only in ALONE:
        parts += [(("windows",), lambda: windows.measure(tell)), (("anomalies",), lambda: [quality.measure()])]
    try:
        if args.only in (None, "peers"):
            peers_python(tell)  # first of all: what cannot be installed is known at once
        for names, measure in parts:
            if args.only in (None, *names):
                for section in measure():
                    sections.append(section)
                    console.print(figures.table(section))
    except SpendError as exc:
        console.print(f"[red]{exc}[/red]")
        return exc.exit_code
    console.print(f"{time.monotonic() - started:.0f} s", highlight=False)
    if not (args.only or args.print):
        figures.write(figures.markdown(sections, facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
