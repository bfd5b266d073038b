"""What only Apache Kafka can show: a log that outlives its broker, replicas, compaction, and `make kafka` itself."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from streams import apache_kafka, child, topics
from streams.errors import SpendError
from streams.kafka import admin, block_producer, read_range, reader, topic_ids, watermarks
from streams.kafka_topics import create_topics, topic_settings
from streams.ports import free_port
from streams.settings import Settings
from streams.supervisor import Stack, on_free_ports
from tests.contract.test_windows_log import LOG, Owner, ids_of
from tests.unit.test_merging import same

pytestmark = pytest.mark.stack

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def only_kafka(broker: str) -> None:
    if broker != "kafka":
        pytest.skip("it is about Apache Kafka")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, only_kafka: None) -> Iterator[Stack]:
    conf = on_free_ports(Settings(state_dir=tmp_path_factory.mktemp("one"), broker="kafka"))
    with Stack(conf, parts=("broker",)) as stack:
        yield stack


def publish(producer: Producer, topic: str, values: range, seconds: float = 60) -> list[KafkaError | None]:
    """Send a record for each; what became of them."""
    told: list[KafkaError | None] = []
    for value in values:
        producer.produce(topic, str(value), partition=0, on_delivery=lambda error, _: told.append(error))
    producer.flush(seconds)
    return told


def records(settings: Settings, topic: str) -> list[Message]:
    """All of partition 0."""
    consumer = reader(settings)
    try:
        return list(read_range(consumer, topic, 0, *watermarks(consumer, topic, 0)))
    finally:
        consumer.close()


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


def test_a_broker_that_is_killed_comes_back_with_the_same_log(one: Stack) -> None:
    create_topics(one.settings, [NewTopic("kept", 1)])
    log_id = topic_ids(one.settings, "kept")
    producer = block_producer(one.settings)
    assert publish(producer, "kept", range(1000)) == [None] * 1000
    one.kill("broker")
    one.start("broker")
    assert publish(producer, "kept", range(1000, 1100)) == [None] * 100  # the client of before goes on
    assert topic_ids(one.settings, "kept") == log_id
    assert [int(m.value() or b"") for m in records(one.settings, "kept")] == list(range(1100))


def test_what_compaction_leaves_of_the_windows_state_is_the_same_state(one: Stack) -> None:
    client = admin(one.settings)
    often = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=AlterConfigOpType.SET)
    for future in client.incremental_alter_configs(
        [ConfigResource(ResourceType.BROKER, "1", incremental_configs=[often])]
    ).values():
        future.result(10)
    config = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
    create_topics(one.settings, [NewTopic(topics.STATE, 1, config=config | {"delete.retention.ms": "0"})])
    ids = ids_of("compacted")
    for end in (len(LOG) // 4, len(LOG) // 2, len(LOG)):
        owner = Owner(one.settings, ids).merge_to(end)
        owner.save()
        time.sleep(0.3)  # so that the next owner's records are in a segment of their own
    written = [m.key() for m in records(one.settings, topics.STATE)]
    owner.log.claim(owner.producer)  # the segment before is closed, and may be cleaned
    until(lambda: len(records(one.settings, topics.STATE)) < len(written) * 0.9, "the log to be compacted")
    same(Owner(one.settings, ids).state, owner.state)


def test_topics_keep_their_records_for_as_long_as_the_settings_say(one: Stack) -> None:
    one.run("topics", "create")
    changed = one.settings.model_copy(update={"log_retention_days": 20, "dead_letter_retention_days": 2})
    told = subprocess.run(
        [sys.executable, "-m", "streams.cli", "topics", "configure"],
        env=child.environment(changed),
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    twenty, two = 20 * topics.DAY_MS, 2 * topics.DAY_MS
    changes = {line.partition(" (")[0] for line in told.splitlines()}
    assert {f"{name}: retention.ms={twenty}" for name in (topics.USAGE, topics.PRICED)} <= changes
    assert f"{topics.DEAD_LETTER}: retention.ms={two}" in changes
    kept = topic_settings(one.settings, [topics.USAGE, topics.ALERTS])
    assert [kept[name]["retention.ms"] for name in kept] == [str(twenty), str(30 * topics.DAY_MS)]


def test_three_brokers_go_on_without_one_and_acknowledge_nothing_that_one_alone_has(
    tmp_path: Path, only_kafka: None
) -> None:
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(3))
    conf = Settings(state_dir=tmp_path, broker="kafka", replication=3, kafka_bootstrap_servers=addresses)
    with Stack(conf, parts=("broker", "topics")) as stack:
        resource = ConfigResource(ResourceType.TOPIC, topics.USAGE)
        client = admin(conf)  # must live until its futures are done
        described = client.describe_configs([resource])[resource].result(10)
        assert described["min.insync.replicas"].value == "2"
        producer = block_producer(conf)
        assert publish(producer, topics.USAGE, range(500)) == [None] * 500
        stack.kill("broker-2")
        assert publish(producer, topics.USAGE, range(500, 1000)) == [None] * 500
        stack.kill("broker-3")
        hasty = Producer({"bootstrap.servers": addresses, "acks": "all", "delivery.timeout.ms": 5000, "log_level": 0})
        [refused] = publish(hasty, topics.USAGE, range(-1, 0))
        assert refused is not None
        for name in ("broker-2", "broker-3"):
            stack.start(name)
        assert publish(producer, topics.USAGE, range(1000, 1001)) == [None]
        values = [int(m.value() or b"") for m in records(conf, topics.USAGE)]
        assert [v for v in values if v >= 0] == list(range(1001))


def test_make_kafka_stops_at_ctrl_c_and_leaves_nothing_behind(tmp_path: Path, only_kafka: None) -> None:
    port = free_port()
    conf = Settings(kafka_bootstrap_servers=f"127.0.0.1:{port}")
    make = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "kafka"],
        env=child.environment(conf) | {"TMPDIR": str(tmp_path)},
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert make.stderr is not None
    said = make.stderr.readline() + make.stderr.readline()
    assert f"Apache Kafka {apache_kafka.version(conf)} is up" in said
    assert f"SPEND_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{port} SPEND_REPLICATION=1" in said
    assert (
        "spend.usage: made"
        in subprocess.run(
            [sys.executable, "-m", "streams.cli", "topics", "create"],
            env=child.environment(conf),
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    os.kill(make.pid, signal.SIGINT)
    assert make.wait(60) == 0
    assert make.stderr.read().endswith("stopped\n")
    make.stderr.close()
    assert list(tmp_path.iterdir()) == []
    processes = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208
    assert not [p for p in processes if p.exists() and str(tmp_path).encode() in p.read_bytes()]


def test_its_version_is_the_same_for_maven_the_settings_and_compose() -> None:
    pom = (REPOSITORY / "deploy" / "kafka" / "pom.xml").read_text()
    [version] = re.findall(r"<kafka\.version>(.*)</kafka\.version>", pom)
    assert Settings.model_fields["kafka_libs"].default.name == f"kafka-{version}"
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version}"


def test_what_is_missing_or_elsewhere_is_told_with_its_mend(tmp_path: Path) -> None:
    conf = Settings(broker="kafka", state_dir=tmp_path, kafka_libs=tmp_path)
    with pytest.raises(SpendError, match=r"Apache Kafka is not in .*SPEND_KAFKA_LIBS.*make kafka"):
        apache_kafka.Cluster(conf).server("broker")
    elsewhere = conf.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9092,kafka.example:9092"})
    with pytest.raises(SpendError, match=r"SPEND_KAFKA_BOOTSTRAP_SERVERS: .*on this machine"):
        apache_kafka.Cluster(elsewhere)
    half_guarded = conf.model_copy(update={"kafka_security_protocol": "SASL_SSL"})
    with pytest.raises(SpendError, match=r"SPEND_KAFKA_SECURITY_PROTOCOL=SASL_SSL: .*kafka --secured"):
        apache_kafka.Cluster(half_guarded)
