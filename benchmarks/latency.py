"""From the emission of an event to the first query that sees its row, under a steady stream."""

import sys
import time
from collections import defaultdict

import numpy as np

from benchmarks.figures import Figure, Section
from clickhouse.client import connect
from streams.supervisor import Stack

RATE = 1_000  # events a second
SECONDS = 30.0
SETTLE_SECONDS = 5.0  # the stream's start does not count
POLL_SECONDS = 0.02


def measure(stack: Stack) -> Section:
    """Send a live stream and look, again and again, up to which source offset each partition's rows are there.

    Blocks of a partition are inserted in order, so an event is queryable from the first look on whose greatest offset
    is its own or a later one. The look's end is taken: the figures are upper bounds, by the time between two looks.
    """
    conf = stack.settings
    client = connect(conf)
    table = f"{conf.clickhouse_database}.usage"
    began = client.query("SELECT toString(now64(6))").result_rows[0][0]
    recent = f"time > toDateTime64('{began}', 6) AND record_time > toDateTime64('{began}', 6)"
    looks: dict[int, list[tuple[float, int]]] = defaultdict(list)  # by partition: when, greatest source offset
    stack.spawn("traffic", sys.executable, "-m", "streams.sample.live", "--rate", str(RATE), "--seed", "31")
    between = []
    stop_at = time.time() + SETTLE_SECONDS + SECONDS
    drained = stop_at + SETTLE_SECONDS
    looked, sending = time.time(), True
    while looked < drained:
        if sending and looked > stop_at:
            stack.stop("traffic")
            sending = False
        found = client.query(
            f"SELECT source_partition, max(source_offset) FROM {table} WHERE {recent} GROUP BY source_partition"
        ).result_rows
        now = time.time()
        between.append(now - looked)
        looked = now
        for partition, offset in found:
            if not looks[partition] or looks[partition][-1][1] < offset:
                looks[partition].append((now, offset))
        time.sleep(POLL_SECONDS)
    rows = client.query(
        f"SELECT source_partition, source_offset, toUnixTimestamp64Micro(emitted_at) FROM {table} WHERE {recent}"
    ).result_rows
    emitted = np.array([row[2] for row in rows]) / 1e6
    seen = np.empty(len(rows))
    partitions, offsets = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    for partition, seen_up_to in looks.items():
        at, mark = (np.array(column) for column in zip(*seen_up_to, strict=True))
        mine = partitions == partition
        seen[mine] = at[np.searchsorted(mark, offsets[mine])]
    counts = emitted > emitted.min() + SETTLE_SECONDS
    waits = (seen - emitted)[counts]
    section = Section(
        "Event to queryable row",
        f"{RATE:,} live events a second for {SECONDS:.0f} s (blocks of SPEND_BLOCK_SECONDS={conf.block_seconds:g}), "
        f"from each event's `emitted_at` to the end of the first query that sees its row; {len(waits):,} events, a "
        f"query every {np.median(between) * 1000:.0f} ms.",
    )
    section.figures.append(Figure("median", f"{np.quantile(waits, 0.5):.2f} s"))
    p99 = float(np.quantile(waits, 0.99))
    section.figures.append(Figure("99th percentile", f"{p99:.2f} s", "", "under 2 s", p99 < 2))
    section.figures.append(Figure("longest", f"{waits.max():.2f} s"))
    return section
