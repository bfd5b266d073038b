"""The processes themselves, on the embedded broker and the embedded ClickHouse: worker, sink, both, and the peer."""

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.admin import NewTopic

from benchmarks.figures import Figure, Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.machine import cpu_seconds, peak_memory
from benchmarks.peers.idiomatic_faust import RESULTS
from benchmarks.traffic import DAYS, send
from clickhouse.client import connect
from clickhouse.insert_settings import insert_settings
from streams import topics
from streams.blocks import Header
from streams.errors import Halt
from streams.kafka import admin, read_range, reader, watermarks
from streams.settings import Settings
from streams.supervisor import Stack

PROCESSES = ("broker", "worker", "sink", "clickhouse")
PEER_EVENTS = 30_000
PATIENCE_SECONDS = 120.0  # without progress
POLL_SECONDS = 0.02
TRACES = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = (("azure-llm", "azure_llm_conv_2023.csv.gz"), ("mooncake", "mooncake_conversation.jsonl.gz"))

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Block:
    """A published block: its message, when it was published, records decided and rows."""

    value: bytes
    at_ms: int
    records: int
    rows: int


def measure(events: int, tell: Tell) -> Iterator[Section]:
    """Run everything on one stack; yields sections as they are done.

    Raises:
        SpendError: a process ended, or nothing moves.
    """
    with fresh_stack(tell) as stack:
        conf = stack.settings
        tell(f"sending {events:,} events")
        sent = send(conf, events, seed=21)
        agents = Section(
            "The price agent over the broker",
            f"One worker process; {len(sent.keys):,} records were in spend.usage ({conf.partitions} partitions) before "
            "it started, no sink runs. From the first block's Kafka timestamp to the last's, without the first block's "
            f"records. The idiomatic app reads the same records and stops after {PEER_EVENTS:,}; its first to last "
            "result likewise.",
        )
        one_by_one = _peer(stack, tell)
        per_second = _worker(stack, agents, len(sent.keys))
        agents.rate("idiomatic Faust app, one event at a time", one_by_one)
        agents.ratio("price agent against the idiomatic app", per_second / one_by_one, 50)
        yield agents
        yield _sink(stack, sent.events, tell)
        yield _whole_way(stack, events, tell)
        if TRACES.is_dir():
            yield _traces(stack, tell)
        yield audit(stack, tell)


def _peer(stack: Stack, tell: Tell) -> float:
    """Results a second of the idiomatic app."""
    conf = stack.settings
    client = admin(conf)
    client.create_topics([NewTopic(RESULTS, conf.partitions, 1)])[RESULTS].result()
    tell("starting the idiomatic Faust app")
    stack.spawn("peer", sys.executable, "-m", "benchmarks.peers.idiomatic_faust", "worker", "--without-web")
    looker = reader(conf)
    try:
        until(stack, lambda: sum(_ends(looker, RESULTS, conf.partitions)), PEER_EVENTS, every=1.0)
        stack.kill("peer")
        at = [
            message.timestamp()[1]
            for partition, end in enumerate(_ends(looker, RESULTS, conf.partitions))
            for message in read_range(looker, RESULTS, partition, 0, end)
        ]
    finally:
        looker.close()
    at.sort()
    return (PEER_EVENTS - 1) / (at[PEER_EVENTS - 1] - at[0]) * 1000


def _worker(stack: Stack, section: Section, records: int) -> float:
    """Records a second that a worker decides."""
    stack.start("worker")
    until(stack, lambda: _decided(stack.settings), records, every=0.5)
    memory = peak_memory(stack.pid("worker"))
    stack.stop("worker")
    blocks = published_blocks(stack.settings)
    first, last = blocks[0], blocks[-1]
    per_second = (records - first.records) / (last.at_ms - first.at_ms) * 1000
    section.rate("price agent", per_second, 200_000)
    section.most("its most memory", memory, "MB", 500)
    return per_second


def _decided(conf: Settings) -> int:
    """Records that the running worker has decided, from its own metrics."""
    with urllib.request.urlopen(f"http://{conf.web_host}:{conf.worker_web_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    counters = ("spend_events_priced_total{", "spend_events_duplicate_total{", "spend_dead_letters_total{")
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counters)))


def published_blocks(conf: Settings) -> list[Block]:
    """All of spend.priced in the order of publishing."""
    looker = reader(conf)
    found = []
    try:
        for partition, end in enumerate(_ends(looker, topics.PRICED, conf.partitions)):
            for message in read_range(looker, topics.PRICED, partition, 0, end):
                header = Header.from_kafka(message.headers())  # type: ignore[arg-type]
                records = header.last - header.first + 1
                found.append(Block(message.value() or b"", message.timestamp()[1], records, header.rows))
    finally:
        looker.close()
    return sorted(found, key=lambda block: block.at_ms)


def _ends(looker: Consumer, topic: str, partitions: int) -> list[int]:
    return [watermarks(looker, topic, partition)[1] for partition in range(partitions)]


def _sink(stack: Stack, rows: int, tell: Tell) -> Section:
    """The sink on blocks that are there, and inserts of the same blocks without Kafka, views and progress."""
    conf = stack.settings
    blocks = published_blocks(conf)
    bare = bare_inserts(conf, blocks, tell)
    stack.start("sink")
    per_second = sustained(count_rows(stack, rows))
    section = Section(
        "The sink",
        f"{len(blocks)} blocks of {rows / len(blocks):,.0f} rows on average, "
        f"{sum(len(block.value) for block in blocks) / rows:.0f} bytes a row, lay in spend.priced; no worker runs. "
        f"The rows are those of {DAYS} day of traffic, so that the views "
        "have many 15-minute sums to make. From the first rows that a query sees to the last, without the first. Bare "
        f"inserts: the same blocks from memory, {conf.partitions} side by side as in the sink, into a copy of the "
        "table that has no views.",
    )
    section.rate("sink: rows and both rollups", per_second, 800_000, "rows/s")
    section.most("its most memory", peak_memory(stack.pid("sink")), "MB", 400)
    section.rate("bare inserts", bare, unit="rows/s")
    section.ratio("sink against bare inserts", per_second / bare, 0.77)
    stack.stop("sink")
    return section


def bare_inserts(conf: Settings, blocks: list[Block], tell: Tell) -> float:
    """Rows a second."""
    tell("inserting the blocks without the sink")
    client = connect(conf)
    client.command("CREATE DATABASE bench")
    client.command(f"CREATE TABLE bench.usage AS {conf.clickhouse_database}.usage")

    def insert(number: int) -> None:
        client.raw_insert(
            "bench.usage",
            insert_block=blocks[number].value,
            fmt="ArrowStream",
            settings=insert_settings(f"bench:{number}"),
        )

    started = time.perf_counter()
    with ThreadPoolExecutor(conf.partitions) as threads:
        list(threads.map(insert, range(len(blocks))))
    seconds = time.perf_counter() - started
    client.command("DROP DATABASE bench")
    return sum(block.rows for block in blocks) / seconds


def _whole_way(stack: Stack, events: int, tell: Tell) -> Section:
    """Topic to queryable row with worker and sink side by side."""
    conf = stack.settings
    before = rows_now(conf)
    tell(f"sending {events:,} more events")
    sent = send(conf, events, seed=22)
    stack.start("sink")
    stack.start("worker")
    ready = time.perf_counter()
    used = {name: -cpu_seconds(stack.pid(name)) for name in PROCESSES}
    samples = count_rows(stack, before + sent.events)
    for name in PROCESSES:
        used[name] += cpu_seconds(stack.pid(name))
    section = Section(
        "The whole way, from topic to queryable row",
        f"Worker and sink together; {len(sent.keys):,} more records were in spend.usage before they started, on top of "
        f"the {before:,} rows of the runs before. From the worker's being ready until a query sees the last row.",
    )
    section.rate("topic to row", sent.events / (samples[-1].at - ready), 80_000)
    for name in PROCESSES:
        each = f"{used[name] / sent.events * 1e6:.1f} µs"
        section.figures.append(Figure(f"processor time of the {name}", f"{used[name]:.1f} s", each))
    section.most("worker's most memory", peak_memory(stack.pid("worker")), "MB", 500)
    section.most("sink's most memory", peak_memory(stack.pid("sink")), "MB", 400)
    return section


def _traces(stack: Stack, tell: Tell) -> Section:
    """The real traces, with `produce`, through the running pipeline."""
    section = Section(
        "Real requests",
        "The published traces of `../shared/data`, read, sent by `spendstream produce` and priced by the running "
        "pipeline; from the start of the command until a query sees the last row.",
    )
    for name, file in FILES:
        tell(f"sending {file}")
        before, started = rows_now(stack.settings), time.perf_counter()
        sent = json.loads(stack.run("produce", "--json", "--format", name, str(TRACES / file)))["sent"]
        samples = count_rows(stack, before + sent)
        section.rate(f"{name}: {sent:,} requests", sent / (samples[-1].at - started), unit="requests/s")
    return section


def audit(stack: Stack, tell: Tell) -> Section:
    """Prove that the speed cost no digit.

    Raises:
        SpendError: something was lost, doubled or priced differently.
    """
    tell("auditing every record")
    started = time.perf_counter()
    found = json.loads(stack.run("audit", "--json"))
    seconds = time.perf_counter() - started
    section = Section(
        "The audit after all runs",
        "Every record recomputed one at a time in `decimal`, and compared with the rows and the rollups.",
    )
    for name in ("events", "lost", "duplicated", "differing"):
        section.figures.append(Figure(name, f"{found[name]:,}"))
    section.figures.append(Figure("cost by the oracle", f"{found['cost']['oracle']} USD"))
    section.figures.append(Figure("raw rows minus oracle", f"{found['differences']['raw_minus_oracle']} USD"))
    section.figures.append(Figure("rollup minus raw rows", f"{found['differences']['rollup_minus_raw']} USD"))
    section.rate("audit", found["events"] / seconds)
    return section


@dataclass(frozen=True)
class _Sample:
    """How many there were at a moment of `time.perf_counter`."""

    at: float
    count: int


def count_rows(stack: Stack, target: int, every: float = POLL_SECONDS) -> list[_Sample]:
    """Look at the number of rows until they are as many."""
    client = connect(stack.settings)
    sql = f"SELECT count() FROM {stack.settings.clickhouse_database}.usage"
    return until(stack, lambda: int(client.query(sql).result_rows[0][0]), target, every)


def sustained(samples: list[_Sample]) -> float:
    """Rows a second from the first rows seen to the last, the first not counted."""
    before = samples[0].count
    first = next(sample for sample in samples if sample.count > before)
    return (samples[-1].count - first.count) / (samples[-1].at - first.at)


def rows_now(conf: Settings) -> int:
    """Rows of raw usage that a query sees."""
    return int(connect(conf).query(f"SELECT count() FROM {conf.clickhouse_database}.usage").result_rows[0][0])


def until(stack: Stack, count: Callable[[], int], target: int, every: float) -> list[_Sample]:
    """Look every so many seconds until the count has reached the target.

    Raises:
        SpendError: a process of the stack ended.
        Halt: the count stands still.
    """
    samples = [_Sample(time.perf_counter(), count())]
    moved = samples[0].at
    while samples[-1].count < target:
        stack.check()
        time.sleep(every)
        counted = count()
        samples.append(_Sample(time.perf_counter(), counted))
        if counted > samples[-2].count:
            moved = samples[-1].at
        elif samples[-1].at - moved > PATIENCE_SECONDS:
            raise Halt(f"{samples[-1].count:,} of {target:,}, and no more for {PATIENCE_SECONDS:.0f} s")
    return samples
