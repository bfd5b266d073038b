"""How the bands of the month-end forecast hold on the sample organisation's spend.

python -m benchmarks.forecast                     5 draws of 208 days; about two minutes
python -m benchmarks.forecast --seeds 11 12       other draws
python -m benchmarks.forecast --events 2000       fewer events a day: sparser members

Each draw is one long run of the organisation's traffic (its seasons, measured call sizes and arrival gaps; customers
grow or shrink for ten weeks in the middle), priced call by call and summed by day. For all calls together, each
workload and each customer the forecast is made on every day of six periods of 30 days, knowing only the days before,
and compared with what the period cost. The draws are not those on which the method was chosen.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from streams.sample.arrivals import Arrivals, Demand
from streams.sample.calls import draw_calls, usage_events
from streams.sample.organisation import organisation
from streams.sample.spend import by_member, priced
from streams.spend.forecast import ONE, Coverage, backtest

PERIOD, PERIODS, WARM = 30, 6, 28
DAYS = WARM + PERIOD * PERIODS
EVENTS = 7_143  # a day: 250,000 in five weeks, as in the demo
END = datetime(2026, 11, 27, tzinfo=UTC)
SEEDS = (101, 102, 103, 104, 105)
GROUPS = {"global": "all calls", "workload": "workloads", "customer": "customers"}
LEFT = (range(1, 11), range(11, 21), range(21, 31))  # days of the period that are left at the forecast
_CHUNK = 250_000


def daily_sums(seed: int, days: int, events: int) -> dict[str, dict[str, list[int]]]:
    """Picodollars of each day, by dimension and member, of `days` days of traffic with `events` a day."""
    org, start = organisation(), END - timedelta(days=days)
    rng = np.random.default_rng([seed, days, events])
    arrivals = Demand(org, start, days, sized_at=start + timedelta(days=days // 2)).spread(rng, days * events)
    sums: dict[str, dict[str, list[int]]] = {dimension: {} for dimension in GROUPS}
    for part in _parts(arrivals):
        spend = priced(usage_events(org, rng, draw_calls(org, rng, part), "benchmark"))
        for dimension, members in sums.items():
            for at, member, picos, _ in by_member(spend, dimension, timedelta(days=1)).iter_rows():
                members.setdefault(member, [0] * days)[(at - start).days] += picos
    return sums


def _parts(arrivals: Arrivals) -> Iterator[Arrivals]:
    order = np.argsort(arrivals.time, kind="stable")
    for first in range(0, len(order), _CHUNK):
        rows = order[first : first + _CHUNK]
        yield Arrivals(arrivals.time[rows], arrivals.workload[rows], arrivals.customer[rows])


def coverage(members: Iterable[list[int]], left: range) -> list[Coverage]:
    """Of each member, the forecasts made with so many days left."""
    return [backtest(daily, PERIOD, WARM, left) for daily in members]


def _row(name: str, left: range, found: list[Coverage]) -> list[str]:
    forecasts = sum(each.forecasts for each in found)
    half, most = (100 * sum(getattr(each, of) for each in found) / forecasts for of in ("below_p50", "below_p90"))
    kept = sorted(100 * each.below_p90 / each.forecasts for each in found)
    error = sorted(each.error_ppm for each in found)[len(found) // 2] * 100 / ONE
    worst = f"{kept[len(kept) // 10]:.0f} %" if len(kept) >= 10 else "-"
    days = f"{left[0]}-{left[-1]}"
    return [name, f"{len(found)}", days, f"{forecasts:,}", f"{half:.0f} %", f"{most:.0f} %", worst, f"{error:.1f} %"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--events", type=int, default=EVENTS, help="a day")
    args = parser.parse_args()
    found: dict[tuple[str, range], list[Coverage]] = {(each, left): [] for each in GROUPS for left in LEFT}
    for seed in args.seeds:
        sums = daily_sums(seed, DAYS, args.events)
        for dimension, left in found:
            members = (daily for member, daily in sums[dimension].items() if member or dimension == "global")
            found[dimension, left] += coverage(members, left)
    table = Table(title=f"Month-end forecasts, {PERIODS} periods of {PERIOD} days, seeds {args.seeds}")
    for heading in ("of", "n", "left", "forecasts", "< p50", "< p90", "worst tenth", "error"):
        table.add_column(heading, justify="left" if heading == "of" else "right", no_wrap=True)
    for (dimension, left), each in found.items():
        table.add_row(*_row(GROUPS[dimension], left, each), end_section=left == LEFT[-1])
    console = Console()
    console.print(table)
    console.print("left: days of the period. Wanted: 50 % end below p50 and 90 % below p90.")
    console.print("worst tenth: a tenth of the members keep p90 less often. error: median, of p50.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
