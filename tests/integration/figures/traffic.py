"""The demo's traffic, once through the pipeline's own functions into ClickHouse and once through the oracle."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from clickhouse.health import write_health
from clickhouse.insert_settings import insert_settings
from clickhouse.progress import Progress, write_progress
from figures.calls import Call, Calls
from figures.topics import Report
from schemas.codec import WriterSchemas
from streams.oracle.check import check
from streams.oracle.decode import DeadLetter, Decoder
from streams.oracle.judge import Accepted
from streams.oracle.price import CostOutOfBounds, OraclePrices
from streams.partitioner import partitions_of
from streams.sample.generator import generate
from streams.sample.spend import sample_rates
from streams.settings import Settings
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.dedupe import DedupIndex
from streams.spend.records import Records

END = datetime(2026, 11, 20, 14, 22, tzinfo=UTC)
EVENTS, DAYS, PARTITIONS, BLOCK, HORIZON = 4_000, 70, 2, 500, 1_000_000
_EVERY, _AGAIN = timedelta(seconds=60), timedelta(seconds=35)  # between two blocks; from a report to its repetition


@dataclass(frozen=True)
class Log:
    """A partition of the log of events: keys, values and Kafka timestamps (microseconds) in the order of offsets."""

    partition: int
    keys: list[bytes]
    values: list[bytes]
    times_us: list[int]

    def blocks(self) -> Iterator[Records]:
        """What a worker takes at a time."""
        for start in range(0, len(self.values), BLOCK):
            stop = min(start + BLOCK, len(self.values))
            part = slice(start, stop)
            yield Records.of(
                self.keys[part], self.values[part], np.arange(start, stop), np.array(self.times_us[part], np.int64)
            )


@cache
def logs() -> tuple[Log, ...]:
    """What `spendstream demo` sends, in fewer calls over more weeks, so that trends and forecasts have a past."""
    sample = generate(seed=1, end=END, events=EVENTS, days=DAYS)
    keys: list[bytes] = []
    values: list[bytes] = []
    for some_keys, some_values in sample.encoded():
        keys += some_keys
        values += some_values
    emitted = sample.events.column("emitted_at").cast(pa.int64()).to_numpy()[sample.order]
    # a broker's clock never goes back; what is sent again bears the time at which it was first emitted
    times = np.maximum.accumulate(emitted)
    places = partitions_of(keys, PARTITIONS)
    found = []
    for partition in range(PARTITIONS):
        mine = np.flatnonzero(places == partition).tolist()
        found.append(Log(partition, [keys[i] for i in mine], [values[i] for i in mine], times[mine].tolist()))
    return tuple(found)


@dataclass(frozen=True)
class Judged:
    """What the oracle makes of the records of all partitions."""

    calls: Calls
    reports: Sequence[Report]


def judged(now: datetime) -> Judged:
    """Every record judged by itself; with the reports that `fill` writes."""
    decoder, prices = Decoder(WriterSchemas()), OraclePrices(sample_rates())
    calls: Calls = []
    reports: list[Report] = []
    for log in logs():
        accepted, rows, repeats = Accepted(HORIZON), 0, 0
        dead: dict[str, int] = {}
        latest = 0
        blocks = -(-len(log.values) // BLOCK)
        reports.append(Report(log.partition, now - blocks * _EVERY, len(log.values), 0, 0, 0, 0, {}, 0))
        for offset, (value, time_us) in enumerate(zip(log.values, log.times_us, strict=True)):
            try:
                reading = decoder.read(value)
                check(reading, time_us)
                event = reading.event
                status, costs = prices.price(event)
            except (DeadLetter, CostOutOfBounds) as refused:
                reason = str(refused) if isinstance(refused, DeadLetter) else "cost_out_of_bounds"
                dead[reason] = dead.get(reason, 0) + 1
            else:
                if accepted.is_repeat(event["source"], event["id"], offset):
                    repeats += 1
                else:
                    rows += 1
                    latest = max(latest, event["time"])
                    calls.append(Call.of(event, status, costs, (log.partition, offset), time_us))
            done = offset + 1
            if done % BLOCK == 0 or done == len(log.values):
                block = -(-done // BLOCK)
                at = now - (blocks - block) * _EVERY
                told = Report(log.partition, at, len(log.values), done, block, rows, repeats, dict(dead), latest)
                reports += [told] if block == blocks else [told, replace(told, at=at + _AGAIN)]
    return Judged(calls, reports)


def fill(client: Client, settings: Settings, now: datetime) -> None:
    """Decide every block as a worker does, insert and report it as the sink does.

    A block is reported when it came and, but for the last, once more before the next: meanwhile events waited.
    """
    writers, table = WriterSchemas(), sample_rates()
    for log in logs():
        index, poison = DedupIndex(HORIZON), PoisonGuard(1_000, 0.5)
        state = PartitionState("log", "blocks", log.partition, PARTITIONS, -1, 0, index, poison)
        progress = Progress("blocks", "log", log.partition)
        taken = list(log.blocks())
        write_health(client, settings, [progress], [len(log.values)], now - len(taken) * _EVERY)
        for number, records in enumerate(taken):
            block = decide(records, state, writers, table).block
            state.mark, state.next_block = int(records.offsets[-1]), number + 1
            client.raw_insert(
                f"{settings.clickhouse_database}.usage",
                insert_block=block.value,
                fmt="ArrowStream",
                settings=insert_settings(f"blocks:{log.partition}:{number}"),
            )
            progress = progress.after(number, block, state.mark)
            at = now - (len(taken) - number - 1) * _EVERY
            for when in (at,) if number + 1 == len(taken) else (at, at + _AGAIN):
                write_health(client, settings, [progress], [len(log.values)], when)
        write_progress(client, progress, now)
