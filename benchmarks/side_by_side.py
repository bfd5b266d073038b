"""Ours beside what people would use instead: the same events, broker, database and machine, one after the other."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import polars as pl
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from benchmarks import whole_pipeline
from benchmarks.figures import Figure, Section
from benchmarks.fresh_stack import fresh_stack
from benchmarks.peers import job
from benchmarks.peers_venv import peers_python
from benchmarks.traffic import Traffic, send
from benchmarks.whole_pipeline import Pace, pace
from clickhouse.client import connect
from schemas.codec import WriterSchemas
from streams.errors import SpendError
from streams.kafka import client_config
from streams.kafka_topics import create_topics
from streams.settings import Settings
from streams.spend.decode import decode
from streams.spend.price import COLUMNS, price
from streams.spend.rates import default_table
from streams.supervisor import Stack
from streams.topics import TOPICS, USAGE

PEER_RECORDS = 20_000  # the first of all
PRICED_EVENTS = 5_000  # calls of each pricing package
PRICED_AT_ONCE = 50_000  # ours
REPEATS = 5

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Peer:
    """A program of `benchmarks/peers/` that stores what it found in the database bench_<key>."""

    key: str
    name: str
    module: tuple[str, ...]  # what `python -m` is given
    apart: bool  # whether it needs the peers' own Python
    closes: bool = False  # whether it shows windows only when they close
    stop: int = PEER_RECORDS  # after so many records


PEERS = (
    Peer("plain_loop", "plain loop", ("benchmarks.peers.plain_loop",), False),
    Peer("faust", "Faust", ("benchmarks.peers.faust_windows", "worker", "--without-web"), False, stop=8_000),
    Peer("quix", "Quix Streams", ("benchmarks.peers.quix",), True),
    Peer("bytewax", "Bytewax", ("bytewax.run", "benchmarks.peers.bytewax_flow:flow"), True, closes=True),
)
PACKAGES = {
    "genai_prices": "genai-prices' calc_price",
    "genai_prices_cached": "genai-prices, each model searched for once",
    "litellm": "litellm's cost_per_token",
    "tokencost": "tokencost's calculate_cost_by_tokens",
}

# text in, text out, no cache, at the standard price: what every package should be able to price
SIMPLE = """coalesce(cache_read_input_tokens, 0) = 0 AND coalesce(cache_creation_input_tokens, 0) = 0
    AND coalesce(audio_input_tokens, 0) = 0 AND coalesce(audio_output_tokens, 0) = 0
    AND coalesce(image_input_tokens, 0) = 0 AND coalesce(image_output_tokens, 0) = 0
    AND empty(quantities) AND NOT coalesce(is_batch, false)
    AND coalesce(service_tier, '') IN ('', 'default', 'standard') AND coalesce(speed, '') IN ('', 'standard')"""

# of the events that both have, each once; floats and roundings may differ by some picodollars, neither may have a price
COMPARED = """
    WITH coalesce(abs(theirs.cost - cost_total) < 1e-9, theirs.cost IS NULL AND cost_total IS NULL) AS agrees
    SELECT count() AS events, countIf(theirs.cost IS NULL) AS unpriced,
        countIf(agrees) AS same, countIf(simple) AS simple_events, countIf(simple AND agrees) AS simple_same,
        sum(theirs.cost) AS their_cost, sum(cost_total) AS our_cost, sum(copies - 1) AS repeats
    FROM (SELECT source, id, any(cost) AS cost, count() AS copies FROM {theirs}.priced GROUP BY source, id) AS theirs
    INNER JOIN (SELECT source, id, cost_total, {simple} AS simple FROM {ours}.usage) AS ours USING (source, id)
"""


def measure(events: int, tell: Tell) -> Iterator[Section]:
    """Run every peer and the pipeline on one stack; yields sections as they are done.

    Raises:
        SpendError: the peers cannot be installed, a process ended, or nothing moves.
    """
    python = peers_python(tell)
    with fresh_stack(tell) as stack:
        tell(f"sending {events:,} events")
        sent = send(stack.settings, events, seed=31)
        given = _give(stack.settings, sent)
        paces = {peer: _run(stack, peer, given, python, tell) for peer in PEERS}
        tell("starting the pipeline")
        ours = whole_pipeline.run(stack, sent.events)
        yield _whole_job(len(sent.keys), given, ours, paces)
        tell("pricing one by one")
        yield _pricing(sent, _packages(stack, python))
        yield _differences(stack)


def _give(conf: Settings, sent: Traffic) -> int:
    """Copy the first records to the peers' topic, without those that one must refuse; returns how many these are.

    An undecodable record has to be counted by nobody; one whose time is a year ahead closes all windows of those who
    believe it.
    """
    usage = next(topic for topic in TOPICS if topic.name == USAGE)  # Quix Streams asks for the retention
    create_topics(conf, [NewTopic(job.TOPIC, conf.partitions, 1, config=usage.settled(conf))])
    latest = datetime.now(UTC)
    records = []
    for key, value in islice(zip(sent.keys, sent.values, strict=True), PEER_RECORDS):
        event = job.decode(value)
        if event is not None and event["time"] <= latest:
            records.append({"key": key, "value": value})
    producer = Producer({**client_config(conf), "compression.type": "lz4"})
    producer.produce_batch(job.TOPIC, records)
    producer.flush()
    return len(records)


def _run(stack: Stack, peer: Peer, events: int, python: str, tell: Tell) -> Pace:
    """A peer on its records, until all of them are stored, or as many as it is worth waiting for."""
    tell(f"starting {peer.name}")
    # their tables may not be there yet, which system.parts takes for no rows
    rows = f"SELECT sum(rows) FROM system.parts WHERE database = 'bench_{peer.key}' AND table = 'priced' AND active"
    each = f"SELECT sum(calls) AS calls FROM bench_{peer.key}.minutes FINAL GROUP BY dimension"
    windows = f"SELECT if(count() = {len(job.DIMENSIONS) + 1}, min(calls), 0) FROM ({each})"
    stack.spawn(peer.key, python if peer.apart else sys.executable, "-m", *peer.module)
    found = pace(stack, [peer.key], rows, rows if peer.closes else windows, min(events, peer.stop))
    stack.kill(peer.key)
    return found


def _whole_job(records: int, given: int, ours: Pace, paces: dict[Peer, Pace]) -> Section:
    less = "".join(f" ({peer.name} was stopped after {peer.stop:,})" for peer in PEERS if peer.stop < given)
    section = Section(
        "Side by side: the whole job",
        "Decode, price, minutes of seven dimensions (global, workload, customer, team, user, provider, model), rows "
        f"and minutes into ClickHouse; from the first rows stored to all of it. Peers got {given:,} of the {records:,} "
        f"records{less}, one process each, one after the other; ours is three processes (price agent, windows, sink), "
        "and does more: 13 dimensions with their quarters and days, budgets and anomalies, all 60 fields of a row, two "
        "rollups, each event counted once. Processor time: of these processes, without broker and database.",
    )
    for peer, theirs in paces.items():
        section.ratio(f"ours against {peer.name}", ours.per_second / theirs.per_second)
    for peer, theirs in paces.items():
        section.ratio(f"ours against {peer.name}, processor time", theirs.micros / ours.micros)
    named = {"spendstream": ours, **{peer.name: theirs for peer, theirs in paces.items()}}
    for name, found in named.items():
        section.bar(name, found.per_second)
    for name, found in named.items():
        section.figures.append(Figure(f"{name}: processor time an event", f"{found.micros:.1f} µs"))
    return section


def _packages(stack: Stack, python: str) -> dict[str, float]:
    """Microseconds an event of each pricing package."""
    command = [python, "-m", "benchmarks.peers.pricing", str(PRICED_EVENTS)]
    ended = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SpendError(f"the pricing packages ended with {ended.returncode}: {ended.stderr.strip()}")
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _pricing(sent: Traffic, packages: dict[str, float]) -> Section:
    section = Section(
        "Side by side: pricing alone",
        f"Decoded events, no broker. Packages are called for each of {PRICED_EVENTS:,} events; ours takes a frame of "
        f"{PRICED_AT_ONCE:,}, median of {REPEATS}.",
    )
    ours = _our_micros(sent.values[:PRICED_AT_ONCE])
    for key, micros in packages.items():
        section.ratio(f"ours against {PACKAGES[key]}", micros / ours)
    section.bar("spendstream", 1e6 / ours)
    for key, micros in packages.items():
        section.bar(PACKAGES[key], 1e6 / micros)
    return section


def _our_micros(values: list[bytes]) -> float:
    """Microseconds an event of `streams.spend.price.price`."""
    frame, table = pl.DataFrame(decode(values, WriterSchemas()).batch.select(COLUMNS)), default_table()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        price(frame, table)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) / frame.height * 1e6


def _differences(stack: Stack) -> Section:
    """What others say that the same events cost."""
    section = Section(
        "Side by side: the same prices?",
        "Events whose cost is the same as ours to 1e-9 USD, or that have no price in both, of those that "
        "each was given. Simple: text in and out, no "
        "cache, at the standard price. What differs: what is billed beside tokens (audio seconds, characters, images, "
        "pages, searches, GPU seconds, storage), image tokens, one-hour cache writes, regional prices, and batch or "
        "tier where a package does not take them. Peers price with genai-prices; `audit` proves ours.",
    )
    client = connect(stack.settings)
    for key, name in ({peer.key: peer.name for peer in PEERS} | PACKAGES).items():
        sql = COMPARED.format(theirs=f"bench_{key}", ours=stack.settings.clickhouse_database, simple=SIMPLE)
        row = next(iter(client.query(sql).named_results()))
        section.figures.append(
            Figure(
                name,
                f"{row['simple_same'] / row['simple_events']:.1%} of {row['simple_events']:,} simple, "
                f"{row['same'] / row['events']:.1%} of all {row['events']:,}; {row['unpriced']:,} without a price; "
                f"{row['their_cost']:.2f} of {row['our_cost']:.2f} USD; {row['repeats']:,} repeats not seen",
            )
        )
    return section
