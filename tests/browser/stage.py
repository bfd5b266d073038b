"""What the browser looks at: the preview server over an embedded ClickHouse, with five weeks of sample traffic.

The rows are made by the pipeline's own functions, decided and priced as the agent does it and inserted as the sink does
it; no broker is needed for that.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from told_budgets import tell_alerts, tell_budgets, writer

from clickhouse.client import connect
from clickhouse.health import write_health
from clickhouse.insert_settings import insert_settings
from clickhouse.progress import Progress, write_progress
from schemas.codec import WriterSchemas, encode_batch
from streams import child
from streams.embedded import answers
from streams.event_columns import record_keys
from streams.ports import free_port
from streams.sample.generator import generate
from streams.sample.spoil import damage
from streams.settings import Settings
from streams.spend.decide import PartitionState, PoisonGuard, decide
from streams.spend.dedupe import DedupIndex
from streams.spend.rates import default_table
from streams.spend.records import Records
from streams.supervisor import Stack, on_free_ports

EVENTS = 8_000
BLOCKS = 12
ZONE = ZoneInfo("Europe/Berlin")
HOSTILE = (
    "'; DROP TABLE usage --",
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    '"]}&var-member=${provider:raw}#/../?x=%27',
    "javascript:alert(3)",
    "smörgåsbord 🧾🔥",
    "long-" * 60,
)


@dataclass(frozen=True)
class Stage:
    """The address of the preview server, and the database behind it."""

    url: str
    client: Client
    now: datetime


@contextmanager
def stage(folder: Path, names: Sequence[str] = HOSTILE, events: int = EVENTS) -> Iterator[Stage]:
    """A preview server over the tables, its files in `folder`; without events the tables are empty.

    Some calls of the traffic are of workloads of the names given.
    """
    settings = on_free_ports(Settings(state_dir=folder, timezone=ZONE.key, preview_port=free_port()))
    with Stack(settings, parts=("clickhouse", "migrate")) as stack:
        client, now = connect(stack.settings), datetime.now(UTC)
        if events:
            fill(client, settings, now, names, events)
        with preview(settings) as url:
            yield Stage(url, client, now)


@contextmanager
def preview(settings: Settings) -> Iterator[str]:
    """`spendstream preview` with these settings; its address."""
    command = [sys.executable, "-m", "streams.cli", "preview"]
    process = subprocess.Popen(command, env=child.environment(settings))
    url = f"http://127.0.0.1:{settings.preview_port}"
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{url}/ready"):
            assert process.poll() is None and time.monotonic() < deadline, "the preview server did not start"
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def fill(client: Client, settings: Settings, now: datetime, names: Sequence[str], events: int) -> None:
    """Five weeks of traffic until `now`, and what the pipeline tells of it; some calls are of workloads of these names.

    The sink's reports say that the blocks came one every five minutes, and that nothing came on while the fifth waited.
    """
    sample = generate(seed=20261127, end=now - timedelta(seconds=1), events=events, days=35)
    sent = renamed(sample.events.take(pa.array(sample.order)), names)
    keys, values = record_keys(sent), damage(encode_batch(sent), sample.spoilt[sample.order])
    index, guard = DedupIndex(settings.dedup_horizon), PoisonGuard(len(values), 1.0)
    state = PartitionState("log", "priced-log", 0, 1, -1, 0, index, guard)
    progress = Progress("priced-log", "log", 0)
    client.database = settings.clickhouse_database
    for number, offsets in enumerate(np.array_split(np.arange(len(values)), BLOCKS)):
        first, last = int(offsets[0]), int(offsets[-1])
        written = np.full(len(offsets), int(now.timestamp() * 1e6))
        records = Records.of(keys[first : last + 1], values[first : last + 1], offsets, written)
        block = decide(records, state, WriterSchemas(), default_table()).block
        token = f"priced-log:0:{number}"
        client.raw_insert("usage", insert_block=block.value, fmt="ArrowStream", settings=insert_settings(token))
        state.mark = last
        progress = progress.after(number, block, last)
        at = now - timedelta(minutes=5) * (BLOCKS - number)
        for later in (timedelta(0), timedelta(minutes=2)) if number == 4 else (timedelta(0),):
            write_health(client, settings, [progress], [min(last + 400, len(values))], at + later)
    write_progress(client, progress, now)
    write = writer(client, settings, now)
    tell_budgets(write, sample, now, ZONE)
    tell_alerts(write, sample, now)


def renamed(events: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """The same events; 40 of each thousand have workloads of these names, as many of each."""
    workloads: list[Any] = events.column("workload").to_pylist()
    for place, name in enumerate(names):
        step = 25 * len(names)
        workloads[place * 25 :: step] = [name] * len(workloads[place * 25 :: step])
    at = events.schema.get_field_index("workload")
    return events.set_column(at, events.schema.field(at), pa.array(workloads, events.schema.field(at).type))
