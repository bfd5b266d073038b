"""From what an event costs on one machine to what a stream of many needs: pure arithmetic, printed as Markdown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

SHARE = 0.6  # of a core: what is planned for a process; the rest is for peaks, takeovers and catching up
SPARE = 2  # partitions for each process of the kind that has most: their number is hard to change later
MOST_PARTITIONS = 1024
RATES = (1_000, 5_000, 20_000, 50_000, 100_000, 200_000, 500_000)  # events a second
DAY_SECONDS = 86_400
# What is counted in processes, each of which has partitions of its own; what is counted in cores.
PROCESSES = {"worker": "price workers", "windows": "windows workers", "sink": "sinks"}
SERVERS = {"clickhouse": "ClickHouse cores", "broker": "Kafka cores"}


@dataclass(frozen=True)
class Cost:
    """Processor time: microseconds an event, and cores that each partition takes whatever comes."""

    micros: float
    idle: float

    def cores(self, rate: float, partitions: int) -> float:
        """Cores that `rate` events a second over so many partitions take."""
        return self.micros * rate / 1e6 + self.idle * partitions


@dataclass(frozen=True)
class Measured:
    """Costs by the names in `PROCESSES` and `SERVERS`; bytes of all topics an event, and of the raw table a row."""

    costs: Mapping[str, Cost]
    kafka_bytes: float
    row_bytes: float


@dataclass(frozen=True)
class Size:
    """What a rate needs: `counts` are of processes and of servers' cores; bytes are of one copy, without replicas."""

    rate: int
    partitions: int
    counts: Mapping[str, int]
    kafka_mb_a_second: float
    clickhouse_gb_a_day: float


def size(rate: int, measured: Measured) -> Size:
    """What `rate` events a second need.

    As many processes of a kind as keep each of them under `SHARE` of a core, and as few partitions as are a power of
    two, at least four, and `SPARE` for each process of the kind that has most.

    Raises:
        ValueError: more than `MOST_PARTITIONS` would be needed.
    """
    partitions = 4
    while partitions <= MOST_PARTITIONS:
        cores = {name: cost.cores(rate, partitions) for name, cost in measured.costs.items()}
        counts = {name: max(1, math.ceil(each / SHARE)) for name, each in cores.items()}
        if partitions >= SPARE * max(counts[name] for name in PROCESSES):
            written = rate * measured.kafka_bytes / 1e6
            return Size(rate, partitions, counts, written, rate * DAY_SECONDS * measured.row_bytes / 1e9)
        partitions *= 2
    raise ValueError(f"{rate:,} events a second need more than {MOST_PARTITIONS} partitions")


def table(measured: Measured) -> str:
    """The sizes of `RATES` as a Markdown table."""
    kinds = PROCESSES | SERVERS
    head = ("events/s", "partitions", *kinds.values(), "Kafka, written", "ClickHouse, raw rows")
    lines = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    for rate in RATES:
        found = size(rate, measured)
        counts = (found.rate, found.partitions, *(found.counts[name] for name in kinds))
        volumes = (f"{found.kafka_mb_a_second:,.1f} MB/s", f"{found.clickhouse_gb_a_day:,.0f} GB a day")
        lines.append(f"| {' | '.join((*(f'{count:,}' for count in counts), *volumes))} |")
    return "\n".join(lines)
