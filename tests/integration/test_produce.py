"""`spendstream produce` and the live sample traffic on a real broker."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import typer
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner, Result

from schemas.codec import WriterSchemas
from streams import embedded
from streams.cli import produce
from streams.errors import SpendError, Unreachable
from streams.event_columns import record_keys
from streams.kafka import admin, read_range, reader, watermarks
from streams.partitioner import partitions_of
from streams.producer import UsageProducer
from streams.sample.generator import generate
from streams.settings import Settings, settings
from streams.spend.decode import decode
from streams.topics import USAGE

REPOSITORY = Path(__file__).parents[2]
PARTITIONS = 2
HEADING = "id,source,time,provider,request_model,operation"
GOOD = ",gw,2026-11-20T10:00:00Z,openai,gpt-4o,chat"

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An embedded broker of this module's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = embedded.broker(Settings(kafka_bootstrap_servers=f"127.0.0.1:{port}"))
    process = subprocess.Popen(
        server.command,
        env={**os.environ, **server.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not server.ready():
            assert time.monotonic() < deadline and process.poll() is None, "the broker did not start"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()  # it keeps nothing; told to stop it takes five seconds
        process.wait(10)


@pytest.fixture
def conf(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of that broker, with an empty topic of usage."""
    monkeypatch.setenv("SPEND_KAFKA_BOOTSTRAP_SERVERS", address)
    settings.cache_clear()
    client = admin(settings())
    if USAGE in client.list_topics(timeout=10).topics:
        client.delete_topics([USAGE])[USAGE].result()
    client.create_topics([NewTopic(USAGE, PARTITIONS, 1)])[USAGE].result()
    yield settings()
    settings.cache_clear()


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command("produce")(produce.command)
    return CliRunner().invoke(app, list(arguments), input=stdin)


def published(conf: Settings) -> list[tuple[bytes, bytes, int]]:
    """Key, value and partition of all records."""
    consumer = reader(conf)
    found = []
    try:
        for partition in range(PARTITIONS):
            start, end = watermarks(consumer, USAGE, partition)
            for message in read_range(consumer, USAGE, partition, start, end):
                key, value = message.key(), message.value()
                assert isinstance(key, bytes)
                found.append((key, value if isinstance(value, bytes) else b"", partition))
    finally:
        consumer.close()
    return found


def events(conf: Settings) -> pa.RecordBatch:
    """All records decoded; each lies where its key belongs."""
    records = published(conf)
    keys, values, partitions = zip(*records, strict=True)
    decoded = decode(list(values), WriterSchemas())
    assert decoded.poison == []
    assert record_keys(decoded.batch) == list(keys)
    assert partitions_of(keys, PARTITIONS).tolist() == list(partitions)
    return decoded.batch


def test_csv_and_json_lines_become_events_and_bad_lines_are_told_by_number(conf: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADING},input_tokens\n1{GOOD},10\n2{GOOD},ten\n3{GOOD},30\n")
    row = {
        "id": "4",
        "source": "gw",
        "time": 1795168800,
        "provider": "openai",
        "request_model": "m",
        "operation": "chat",
    }
    lines = [json.dumps(row), "{", json.dumps({**row, "id": "5", "input_tokens": 1, "cache_read_input_tokens": 2})]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    result = run(str(tmp_path / "a.csv"), str(tmp_path / "b.jsonl.gz"))
    assert result.exit_code == 1
    assert f"{tmp_path}/a.csv:3: input_tokens: 'ten' is not a whole number" in result.stderr
    assert f"{tmp_path}/b.jsonl.gz:2: is not JSON" in result.stderr
    assert f"{tmp_path}/b.jsonl.gz:3: cache_read_input_tokens 2 is more than input_tokens 1" in result.stderr
    assert "3 events sent to spend.usage; 3 lines left out" in result.stdout
    assert sorted(events(conf)["id"].to_pylist()) == ["1", "3", "4"]


def test_standard_input_and_json_for_machines(conf: Settings) -> None:
    text = f"{HEADING}\n1{GOOD}\n\n{GOOD}\n"
    result = run("--format", "csv", "--json", "-", stdin=gzip.compress(text.encode()))
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "topic": "spend.usage",
        "sent": 1,
        "bad": [{"file": "-", "line": 4, "reason": "id is missing"}],
    }
    assert run("--format", "jsonl", "-", stdin=b"").exit_code == 0


@pytest.mark.data
def test_the_real_traces_are_published_whole_and_a_second_time_as_the_same_events(
    conf: Settings, shared_data: Path
) -> None:
    azure, mooncake = (
        str(shared_data / name) for name in ("azure_llm_conv_2023.csv.gz", "mooncake_conversation.jsonl.gz")
    )
    for _ in range(2):
        assert (
            "19,366 events sent" in run("--format", "azure-llm", azure, "--workloads", "a,b", "--customers", "3").stdout
        )
    assert "12,031 events sent" in run("--format", "mooncake", mooncake, "--model", "gpt-4o").stdout
    batch = events(conf)
    assert batch.num_rows == 2 * 19_366 + 12_031
    keys = Counter(record_keys(batch))
    assert len(keys) == 19_366 + 12_031
    assert {count for key, count in keys.items() if key.startswith(b"azure-llm-2023:")} == {2}
    tokens = Counter[str]()
    for source, given, answer, read in zip(
        *(batch[name].to_pylist() for name in ("source", "input_tokens", "output_tokens", "cache_read_input_tokens")),
        strict=True,
    ):
        tokens.update({f"{source} in": given, f"{source} out": answer, f"{source} read": read or 0})
    with gzip.open(azure, "rt") as file:
        rows = [line.split(",") for line in file.read().splitlines()[1:]]
    assert tokens["azure-llm-2023 in"] == 2 * sum(int(row[1]) for row in rows)
    assert tokens["azure-llm-2023 out"] == 2 * sum(int(row[2]) for row in rows)
    with gzip.open(mooncake, "rt") as file:
        requests = [json.loads(line) for line in file]
    assert tokens["mooncake-conversation in"] == sum(request["input_length"] for request in requests)
    assert tokens["mooncake-conversation out"] == sum(request["output_length"] for request in requests)
    assert tokens["mooncake-conversation read"] == 54_098_411
    of_azure = batch.filter(pc.equal(batch["source"], "azure-llm-2023"))
    assert set(of_azure["workload"].to_pylist()) == {"a", "b"}
    assert set(of_azure["customer"].to_pylist()) == {"customer-1", "customer-2", "customer-3"}


def test_what_cannot_be_meant_is_one_clear_line_and_sends_nothing(conf: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADING}\n1{GOOD}\n")
    (tmp_path / "b.log").write_text("x")
    for arguments, says in (
        (["b.log"], "what does it hold"),
        (["a.csv", "--model", "x"], "--model is for traces"),
        (["a.csv", "--format", "azure-llm", "--workloads", "0"], "--workloads 0: give a number"),
        (["a.csv", "--format", "azure-llm", "--start", "soon"], "--start: 'soon' is not a time"),
        (["a.csv", "none.csv"], "none.csv: cannot be read"),
        (["a.csv", "--user-key", "b.log"], "has 1 bytes"),
    ):
        paths = [str(tmp_path / a) if a.endswith((".csv", ".log")) else a for a in arguments]
        result = run(*paths)
        assert isinstance(result.exception, SpendError), result.output
        assert says in str(result.exception)
    assert published(conf) == []


def test_a_file_that_is_cut_off_sends_what_stands_before(conf: Settings, tmp_path: Path) -> None:
    text = "".join(f"{n}{GOOD}\n" for n in range(120_000))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(f"{HEADING}\n{text}".encode())[:-20_000])
    result = run(str(tmp_path / "a.csv.gz"))
    assert isinstance(result.exception, SpendError)
    assert "is damaged or cut off" in str(result.exception)
    assert 20_000 <= len(published(conf)) < 120_000


def test_without_a_broker_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEND_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("streams.cli.produce.BROKER_SECONDS", 0.2)
    settings.cache_clear()
    (tmp_path / "a.csv").write_text(f"{HEADING}\n1{GOOD}\n")
    result = run(str(tmp_path / "a.csv"))
    settings.cache_clear()
    assert isinstance(result.exception, Unreachable)
    assert "SPEND_KAFKA_BOOTSTRAP_SERVERS" in str(result.exception)


def test_the_sample_is_published_as_its_truth_says(conf: Settings) -> None:
    sample = generate(seed=1, end=datetime.now(UTC), events=10_000)
    with UsageProducer(conf) as producer:
        for keys, values in sample.encoded(prefix=producer.prefix):
            producer.send_many(keys, values)
    records = published(conf)
    assert len(records) == sample.truth.records
    decoded = decode([value for _, value, _ in records], WriterSchemas())
    broken = {"undecodable", "trailing_bytes", "unknown_schema", "empty"}
    reasons = Counter(poison.reason for poison in decoded.poison)
    assert {reason: reasons[reason] for reason in broken} == {
        reason: sample.truth.dead_letters[reason] for reason in broken
    }


def test_live_traffic_keeps_its_rate_until_it_is_told_to_stop(conf: Settings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.sample.live", "--rate", "500"],
        cwd=REPOSITORY,
        env={**os.environ, "SPEND_KAFKA_BOOTSTRAP_SERVERS": conf.kafka_bootstrap_servers},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while len(published(conf)) == 0:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        began = time.time()
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    batch = events(conf)
    assert out == f"sample traffic: {batch.num_rows} events sent\n"
    assert batch.num_rows > 500
    times = batch["time"].cast(pa.int64()).to_numpy() / 1e6
    assert began - 30 < times.min() and times.max() <= time.time()
