"""Ours beside what people would use instead: the same events, broker, database and machine, one after the other."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from benchmarks import whole_pipeline
from benchmarks.figures import Figure, Section
from benchmarks.peers import job
from benchmarks.peers_venv import peers_python
from benchmarks.traffic import Traffic, send
from benchmarks.whole_pipeline import Pace, pace
from clickhouse.client import connect
from streams.errors import SpendError
from streams.kafka import client_config, create_topics
from streams.settings import Settings
from streams.supervisor import SERVERS, Stack, on_free_ports

PEER_RECORDS = 20_000  # of the events, the first; as many as the slowest does in half a minute
PRICED_EVENTS = 5_000  # calls of each pricing package

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Peer:
    """A program of `benchmarks/peers/` that stores what it found in the database bench_<key>."""

    key: str
    name: str
    module: tuple[str, ...]  # what `python -m` is given
    apart: bool  # whether it needs the peers' own Python
    closes: bool = False  # whether it shows windows only when they close


PEERS = (
    Peer("plain_loop", "plain loop", ("benchmarks.peers.plain_loop",), False),
    Peer("faust", "Faust", ("benchmarks.peers.faust_windows", "worker", "--without-web"), False),
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

# of the events that both have, each once; floats and roundings may differ by some picodollars
COMPARED = """
    SELECT count() AS events, countIf(theirs.cost IS NULL) AS unpriced,
        countIf(abs(theirs.cost - cost_total) < 1e-9) AS same,
        countIf(simple) AS simple_events, countIf(simple AND abs(theirs.cost - cost_total) < 1e-9) AS simple_same,
        sum(theirs.cost) AS their_cost, sum(cost_total) AS our_cost
    FROM (SELECT source, id, any(cost) AS cost FROM {theirs}.priced GROUP BY source, id) AS theirs
    INNER JOIN (SELECT source, id, cost_total, {simple} AS simple FROM {ours}.usage) AS ours USING (source, id)
"""


def measure(events: int, tell: Tell) -> Iterator[Section]:
    """Run every peer and the pipeline on one stack; yields sections as they are done.

    Raises:
        SpendError: the peers cannot be installed, a process ended, or nothing moves.
    """
    python = peers_python(tell)
    with (
        tempfile.TemporaryDirectory(prefix="spendstream-bench-") as folder,
        Stack(
            on_free_ports(Settings(state_dir=Path(folder))), parts=(*SERVERS, "topics", "migrate"), tell=tell
        ) as stack,
    ):
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
    """Copy the first records to the peers' topic; returns how many of them are events."""
    create_topics(conf, [NewTopic(job.TOPIC, conf.partitions, 1)])
    records = list(zip(sent.keys, sent.values, strict=True))[:PEER_RECORDS]
    producer = Producer({**client_config(conf), "compression.type": "lz4"})
    producer.produce_batch(job.TOPIC, [{"key": key, "value": value} for key, value in records])
    producer.flush()
    return sum(job.decode(value) is not None for _, value in records)


def _run(stack: Stack, peer: Peer, events: int, python: str, tell: Tell) -> Pace:
    """A peer on its records, until all of them are stored."""
    tell(f"starting {peer.name}")
    # their tables may not be there yet, which system.parts takes for no rows
    rows = f"SELECT sum(rows) FROM system.parts WHERE database = 'bench_{peer.key}' AND table = 'priced' AND active"
    calls = f"SELECT sum(calls) AS calls FROM bench_{peer.key}.minutes FINAL GROUP BY dimension"
    stack.spawn(peer.key, python if peer.apart else sys.executable, "-m", *peer.module)
    found = pace(stack, [peer.key], rows, rows if peer.closes else f"SELECT min(calls) FROM ({calls})", events)
    stack.kill(peer.key)
    return found
