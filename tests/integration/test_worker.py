"""The worker with everything behind it, seen from outside: what producers send, and what ClickHouse then says."""

import io
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import clickhouse_connect
import fastavro
import pytest
from confluent_kafka import Producer
from fastavro.schema import fingerprint, to_parsing_canonical_form
from priced_log import database, kill, renew

from streams.errors import SpendError
from streams.kafka import reader, watermarks
from streams.partitioner import partitions_of
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack, on_free_ports
from streams.topics import DEAD_LETTER, PRICED, USAGE
from tests.chaos.served_registry import Registry, serving_registry

pytestmark = pytest.mark.stack

AVSC = json.loads((Path(__file__).parents[2] / "schemas" / "usage_event.avsc").read_text())
SCHEMA = fastavro.parse_schema(AVSC)
SINGLE_OBJECT = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))
MTOK = Decimal(1_000_000)

# gpt-4o: $2.50 a million input tokens, $1.25 cached, $10 output: 600 + 400 cached in, 50 out.
CALL = {"input_tokens": 1000, "cache_read_input_tokens": 400, "output_tokens": 50}
COST = 600 * Decimal("2.50") / MTOK + 400 * Decimal("1.25") / MTOK + 50 * Decimal("10") / MTOK  # $0.0025


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with serving_registry({1: json.dumps(AVSC)}) as registry:
        yield registry


PARTS = (
    *SERVERS,
    *STEPS,
    "worker",
    "sink",
)  # the broker is made anew in between, which a windows worker would not outlive


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Iterator[Stack]:
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("worker"),
        partitions=2,
        session_timeout_seconds=2,
        block_seconds=0.1,
        schema_registry_url=registry.url,
    )
    with Stack(on_free_ports(settings), parts=PARTS) as stack:
        yield stack
        kill(stack, "worker", "sink", "sink-2", "sink-3", "broker", "clickhouse")


@dataclass
class Gateway:
    """A producer of one source, with nothing of spendstream but its schema."""

    settings: Settings
    source: str
    sent: int = 0

    def __post_init__(self) -> None:
        self.producer = Producer(
            {"bootstrap.servers": self.settings.kafka_bootstrap_servers, "partitioner": "murmur2_random", "acks": "all"}
        )

    def event(self, **changes: Any) -> dict[str, Any]:
        self.sent += 1
        known = {
            "id": f"{self.source}-{self.sent}",
            "source": self.source,
            "time": datetime.now(UTC),
            "provider": "openai",
            "request_model": "gpt-4o",
            "operation": "chat",
        }
        return known | CALL | changes

    def send(self, value: bytes | None, key: str, **more: Any) -> None:
        self.producer.produce(USAGE, value, key, **more)

    def call(self, **changes: Any) -> dict[str, Any]:
        """Send a good event, as single-object encoding."""
        event = self.event(**changes)
        self.send(encoded(event), f"{self.source}:{event['id']}")
        return event

    def rows(self, columns: str = "cost_total") -> list[tuple[Any, ...]]:
        found = database(self.settings).query(
            f"SELECT {columns} FROM usage WHERE source = {{source:String}} ORDER BY id",
            parameters={"source": self.source},
        )
        return [tuple(row) for row in found.result_rows]

    def counted(self) -> tuple[int, Decimal | None]:
        """Calls and cost of the source in the raw table."""
        found = self.rows("count() OVER (), sum(cost_total) OVER ()")
        return found[0] if found else (0, Decimal(0))


@pytest.fixture
def gateway(stack: Stack, request: pytest.FixtureRequest) -> Gateway:
    """A source of the test's own."""
    return Gateway(stack.settings, request.node.name)


def encoded(event: dict[str, Any], prefix: bytes = SINGLE_OBJECT, schema: Any = SCHEMA) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, event)
    return prefix + body.getvalue()


def framed(schema_id: int) -> bytes:
    return b"\x00" + struct.pack(">I", schema_id)


@pytest.mark.parametrize("prefix", [SINGLE_OBJECT, framed(1)], ids=["single-object", "confluent"])
def test_a_program_that_knows_only_the_schema_reads_the_exact_cost_back(
    stack: Stack, prefix: bytes, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    source = request.node.name
    event = {
        "id": "call-1",
        "source": source,
        "time": datetime.now(UTC),
        "provider": "openai",
        "request_model": "gpt-4o",
        "operation": "chat",
        **CALL,
    }
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, event)
    producer = Producer({"bootstrap.servers": stack.settings.kafka_bootstrap_servers, "partitioner": "murmur2_random"})
    producer.produce("spend.usage", prefix + body.getvalue(), key=f"{source}:call-1")
    producer.flush(10)
    sent = time.monotonic()
    port = int(stack.settings.clickhouse_url.rpartition(":")[2])
    client = clickhouse_connect.get_client(host="127.0.0.1", port=port)
    question = f"SELECT cost_total, model, pricing_status FROM spend.usage WHERE source = '{source}'"
    while not (rows := client.query(question).result_rows):
        assert time.monotonic() - sent < 10
        time.sleep(0.02)
    with capsys.disabled():
        print(f"\n  event to queryable row: {time.monotonic() - sent:.2f} s")
    assert rows == [(COST, "gpt-4o", "priced")]


def test_every_kind_of_bad_record_has_its_reason_and_its_neighbours_are_priced(stack: Stack, gateway: Gateway) -> None:
    now = datetime.now(UTC)
    good = encoded(gateway.event())
    unknown_symbol = json.loads(json.dumps(AVSC))
    statuses = next(f for f in unknown_symbol["fields"] if f["name"] == "usage_status")
    statuses["type"]["symbols"].append("imagined")
    foreign = fastavro.parse_schema(unknown_symbol | {"name": "UsageEvent"}, named_schemas={})
    bad: dict[str, tuple[bytes | None, str]] = {
        "tombstone": (None, "empty"),
        "nothing": (b"", "empty"),
        "noise": (b"\x7f\x00\x01noise", "undecodable"),
        "cut-short": (good[:-9], "undecodable"),
        "too-long": (good + b"\x00\x01", "trailing_bytes"),
        "other-fingerprint": (b"\xc3\x01" + bytes(8) + good[10:], "unknown_schema"),
        "other-id": (framed(404) + good[10:], "unknown_schema"),
        "cached-above-input": (encoded(gateway.event(cache_read_input_tokens=1001)), "contradiction"),
        "negative": (encoded(gateway.event(output_tokens=-1)), "out_of_bounds"),
        "absurd": (encoded(gateway.event(input_tokens=2**62)), "out_of_bounds"),
        "absurd-quantity": (encoded(gateway.event(quantities={"web_search": 2**60})), "out_of_bounds"),
        "without-identity": (encoded(gateway.event(id="")), "out_of_bounds"),
        "before-time": (encoded(gateway.event(time=datetime(1970, 1, 2, tzinfo=UTC))), "out_of_bounds"),
        "ahead": (encoded(gateway.event(time=now + timedelta(hours=1))), "ahead_of_record"),
        "megabyte": (encoded(gateway.event(workload="x" * 900_000)), "too_large"),
        "long-text": (encoded(gateway.event(workload="x" * 2_000)), "too_large"),
        "unknown-symbol": (encoded(gateway.event(usage_status="imagined"), framed(7), foreign), "unknown_schema"),
        "million-searches": (encoded(gateway.event(quantities={"web_search": 10**12})), "cost_out_of_bounds"),
    }
    for name, (value, _) in bad.items():
        gateway.call()
        gateway.send(value, f"{gateway.source}:{name}")
    gateway.producer.flush(10)
    letters = {}
    until(lambda: len(letters.update(dead_letters(stack, gateway.source)) or letters) == len(bad))
    assert {name: letters[name]["reason"] for name in bad} == {name: reason for name, (_, reason) in bad.items()}
    assert all(letter["detail"] for letter in letters.values())
    until(lambda: gateway.counted() == (len(bad), len(bad) * COST))
    stack.check()


def test_absurd_events_that_are_allowed_have_their_documented_default(gateway: Gateway) -> None:
    gateway.call(id="a-unknown-model", request_model="made-up-9000")
    gateway.call(id="b-unattributed", workload=None)
    gateway.call(id="c-late", time=datetime.now(UTC) - timedelta(days=30))
    gateway.producer.flush(10)
    until(lambda: gateway.counted()[0] == 3)
    assert gateway.rows("pricing_status, cost_total, workload") == [
        ("unpriced", None, None),  # never $0
        ("priced", COST, None),
        ("priced", COST, None),
    ]


def test_an_own_rate_takes_effect_without_a_restart(stack: Stack, gateway: Gateway) -> None:
    rates = [{"id": "acme-4o", "provider": "openai", "model": "gpt-4o", "customer": "acme", "discount_percent": "20"}]
    gateway.call(customer="acme")
    gateway.producer.flush(10)
    until(lambda: gateway.rows() == [(COST,)])
    stack.run("rates", "set", "-", input=json.dumps(rates).encode())
    time.sleep(1)
    gateway.call(customer="acme")
    gateway.producer.flush(10)
    until(lambda: gateway.rows("cost_total, rate_id IS NOT NULL") == [(COST, True), (COST * 80 / 100, True)])
    stack.run("rates", "remove", "acme-4o")
    time.sleep(1)
    gateway.call(customer="acme")
    gateway.producer.flush(10)
    until(lambda: gateway.rows() == [(COST,), (COST * 80 / 100,), (COST,)])


def test_repeats_are_dropped_across_a_restart_of_the_worker(stack: Stack, gateway: Gateway) -> None:
    first = [gateway.call() for _ in range(20)]
    gateway.producer.flush(10)
    until(lambda: gateway.counted() == (20, 20 * COST))
    stack.kill("worker")
    stack.start("worker")
    for event in first:
        gateway.send(encoded(event), f"{gateway.source}:{event['id']}")
    gateway.call()
    gateway.producer.flush(10)
    until(lambda: gateway.counted() == (21, 21 * COST))
    until(lambda: metric(stack, "spend_events_duplicate_total") == 20)
    assert gateway.counted() == (21, 21 * COST)


def test_keys_in_the_wrong_partition_are_counted_and_priced(stack: Stack, gateway: Gateway) -> None:
    before = metric(stack, "spend_misrouted_keys_total")
    event = gateway.event()
    key = f"{gateway.source}:{event['id']}"
    home = int(partitions_of([key.encode()], 2)[0])
    gateway.send(encoded(event), key, partition=1 - home)
    gateway.call()
    gateway.producer.flush(10)
    until(lambda: gateway.counted() == (2, 2 * COST))
    assert metric(stack, "spend_misrouted_keys_total") == before + 1


def test_the_audit_agrees_with_all_of_it(stack: Stack) -> None:
    found = json.loads(stack.run("audit", "--json"))
    assert (found["lost"], found["duplicated"], found["differing"], found["unexpected"]) == (0, 0, 0, 0)
    assert Decimal(found["differences"]["raw_minus_oracle"]) == 0


def test_dead_letters_are_replayed_after_the_mend_and_count_once(
    stack: Stack, gateway: Gateway, registry: Registry
) -> None:
    for _ in range(3):
        event = gateway.event()
        gateway.send(encoded(event, framed(88)), f"{gateway.source}:{event['id']}")
    gateway.send(b"never an event", f"{gateway.source}:hopeless")
    gateway.producer.flush(10)
    until(lambda: len(dead_letters(stack, gateway.source)) == 4)
    assert gateway.counted() == (0, Decimal(0))
    registry.schemas[88] = json.dumps(AVSC)  # the mend
    stack.kill("worker")
    stack.start("worker")
    places = [letter["place"] for letter in dead_letters(stack, gateway.source).values()]
    chosen = [option for place in places for option in ("--id", place)]
    stack.run("dead-letters", "replay", *chosen)
    until(lambda: gateway.counted() == (3, 3 * COST))
    stack.run("dead-letters", "replay", *chosen)  # a person's mistake
    gateway.call()
    gateway.producer.flush(10)
    until(lambda: gateway.counted() == (4, 4 * COST))
    until(lambda: metric(stack, "spend_events_duplicate_total") == 3)
    assert gateway.counted() == (4, 4 * COST)
    # what is still bad became a dead letter anew, once a replay
    hopeless = [one for one in all_letters(stack) if one["key"] == f"{gateway.source}:hopeless"]
    assert [one["reason"] for one in hopeless] == ["undecodable"] * 3


def test_a_worker_takes_over_no_more_identities_than_its_horizon(stack: Stack, gateway: Gateway) -> None:
    forgotten = send_to(gateway, 0)
    for _ in range(20):
        send_to(gateway, 0, wait=False)
    remembered = send_to(gateway, 0)
    until(lambda: gateway.counted() == (22, 22 * COST))
    stack.kill("worker")
    wide = stack.settings
    stack.settings = wide.model_copy(update={"dedup_horizon": 5})
    try:
        stack.start("worker")
    finally:
        stack.settings = wide
    for event in (forgotten, remembered):
        gateway.send(encoded(event), "any", partition=0)
    gateway.producer.flush(10)
    # the one beyond the horizon counts again: that is what the horizon means
    until(lambda: gateway.counted() == (23, 23 * COST))
    until(lambda: metric(stack, "spend_events_duplicate_total") == 1)


def test_more_poison_than_its_share_halts_before_anything_of_it_is_published(stack: Stack, gateway: Gateway) -> None:
    settings = renew(stack, "poison", poison_window=50, block_seconds=1.0)
    gateway = Gateway(settings, gateway.source)
    stack.start("worker")
    for _ in range(60):
        send_to(gateway, 0, wait=False)
    gateway.producer.flush(10)
    until(lambda: ends(settings, PRICED)[0] >= 1)
    blocks = ends(settings, PRICED)
    for n in range(80):
        gateway.send(b"of another release %d" % n, f"bad-{n}", partition=0)
    gateway.producer.flush(10)
    with pytest.raises(SpendError, match="worker ended with exit code 3"):
        stack.wait(20)
    said = stack.log("worker").read_text()
    assert "more than SPEND_POISON_SHARE=0.5 allows" in said
    assert "records cannot be counted" in said
    assert (ends(settings, PRICED), ends(settings, DEAD_LETTER)) == (blocks, [0])


def send_to(gateway: Gateway, partition: int, wait: bool = True) -> dict[str, Any]:
    """A good event, in this partition."""
    event = gateway.event()
    gateway.send(encoded(event), f"{gateway.source}:{event['id']}", partition=partition)
    if wait:
        gateway.producer.flush(10)
    return event


def all_letters(stack: Stack) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.run("dead-letters", "list", "--json").splitlines()]


def dead_letters(stack: Stack, source: str) -> dict[str, dict[str, Any]]:
    """The dead letters of a source by what stands behind it in the key."""
    return {
        one["key"].removeprefix(f"{source}:"): one
        for one in all_letters(stack)
        if (one["key"] or "").startswith(f"{source}:")
    }


def metric(stack: Stack, name: str) -> float:
    """A metric of the worker, all labels together."""
    text = urlopen(f"http://127.0.0.1:{stack.settings.worker_web_port}/metrics").read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def ends(settings: Settings, topic: str) -> list[int]:
    consumer = reader(settings)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return [watermarks(consumer, topic, number)[1] for number in sorted(partitions)]
    finally:
        consumer.close()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
