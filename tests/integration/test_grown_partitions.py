"""What a worker takes over with a partition that the log grew by: whom the partitions before it had counted."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka.admin import NewTopic
from priced_rows import embedded_broker, row

from schemas.priced import priced_arrow
from streams import blocks
from streams.blocks import Header
from streams.kafka import block_producer, topic_ids
from streams.kafka_topics import create_topics
from streams.ports import free_port
from streams.price_log import LogIds, take_over
from streams.settings import Settings
from streams.spend.fingerprint import fingerprints
from streams.topics import PRICED, USAGE

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def conf() -> Iterator[Settings]:
    """A log of two partitions that grew to four and then to eight: 6 follows 2, which follows 0."""
    settings = Settings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    with embedded_broker(settings):
        create_topics(settings, [NewTopic(USAGE, 8, 1), NewTopic(PRICED, 8, 1)])
        block(settings, 0, 0, 9, {0: "a", 5: "b", 9: "c"})
        block(settings, 0, 10, 19, {12: "d"})
        block(settings, 2, 0, -1, {}, follows=(0, 9))  # of a move that was cut short
        block(settings, 2, 0, -1, {}, follows=(0, 19))
        block(settings, 0, 20, 25, {21: "later"})
        block(settings, 2, 0, 2, {0: "e", 2: "f"})
        block(settings, 6, 0, -1, {}, follows=(2, 2))
        yield settings


def block(settings: Settings, partition: int, first: int, last: int, ids: dict[int, str], **more: object) -> None:
    """Put a block, and the events that it speaks of, on the log."""
    logs = topic_ids(settings, USAGE, PRICED)
    place = {"log_id": logs[USAGE], "source_partition": partition}
    rows = [row(offset, NOW, Decimal(1), id=name, **place) for offset, name in ids.items()]
    header = Header(logs[USAGE], logs[PRICED], partition, first, last, len(rows), "v", **more)  # type: ignore[arg-type]
    batch = pa.RecordBatch.from_pylist(rows, schema=priced_arrow())
    producer = block_producer(settings)
    for _ in range(first, last + 1):
        producer.produce(USAGE, b"an event", partition=partition)
    producer.produce(PRICED, blocks.write(batch), partition=partition, headers=header.to_kafka())  # type: ignore[arg-type]
    producer.flush()


def known(settings: Settings, partition: int, *names: str) -> str:
    """Which of these a worker that takes the partition over has counted, asked one offset after the other."""
    logs = topic_ids(settings, USAGE, PRICED)
    state, begin = take_over(settings, LogIds(logs[USAGE], logs[PRICED], 8), partition)
    keys = fingerprints(pa.array(["gateway-a"] * len(names)), pa.array(names))
    accepted = state.index.accept(keys, np.arange(begin, begin + len(names)))
    return " ".join(name for name, fresh in zip(names, accepted, strict=True) if not fresh)


def test_a_new_partition_knows_whom_the_one_it_follows_had_counted_until_then(conf: Settings) -> None:
    assert known(conf, 2, "a", "b", "c", "d", "e", "f", "later", "new") == "a b c d e f"


def test_one_that_follows_one_that_followed_knows_them_all(conf: Settings) -> None:
    assert known(conf, 6, "a", "b", "c", "d", "e", "f", "later", "new") == "a b c d e f"


def test_the_old_partition_knows_its_own_as_before(conf: Settings) -> None:
    assert known(conf, 0, "a", "later", "e") == "a later"


def test_the_horizon_runs_on_across_the_seam(conf: Settings) -> None:
    short = conf.model_copy(update={"dedup_horizon": 10})
    # as partition 6 counts, f is at offset -1, e at -3, and d, which was at 12 of 20 before the three of 2, at -11
    assert known(short, 6, "f", "e", "d") == "f e"
    assert known(short, 6, "x", "y", "z", "e") == "e"
    assert known(short, 6, *"klmnopqr", "e") == ""
