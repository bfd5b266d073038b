"""A log of priced blocks on a real broker, made by a test itself; and a stack that is as good as new for each test."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from priced_rows import Row, row

from clickhouse import migrate
from clickhouse.client import connect
from schemas.priced import priced_arrow
from streams import blocks
from streams.blocks import Header
from streams.errors import SpendError
from streams.kafka import admin, block_producer, topic_ids, wait_for_brokers
from streams.settings import Settings
from streams.supervisor import Stack
from streams.topics import PRICED, TOPICS, USAGE

PICO = Decimal("0.000000000001")
NOON = datetime.now(UTC).replace(day=15, hour=12, minute=0, second=0, microsecond=0) - timedelta(days=31)


def renew(stack: Stack, database: str, **changes: Any) -> Settings:
    """An empty broker with the topics, and an empty database, for the stack's next processes."""
    kill(stack, "worker", "sink", "sink-2", "sink-3", "broker")
    stack.settings = stack.settings.model_copy(update={"clickhouse_database": database, **changes})
    stack.start("broker")
    wait_for_brokers(stack.settings)
    make_topics(stack.settings)
    migrate.up(connect(stack.settings), stack.settings, lambda: None)
    return stack.settings


def kill(stack: Stack, *names: str) -> None:
    """Kill those that run; an orderly stop takes seconds."""
    for name in names:
        with suppress(SpendError):  # it does not run
            stack.kill(name)


def make_topics(settings: Settings) -> None:
    client = admin(settings)
    wanted = [NewTopic(t.name, t.partitions or settings.partitions, 1, config=t.settled(settings)) for t in TOPICS]
    for future in client.create_topics(wanted, request_timeout=30).values():
        future.result()


def database(settings: Settings) -> Client:
    client = connect(settings)
    client.database = settings.clickhouse_database
    return client


@dataclass
class PricedLog:
    """Publishes blocks and remembers what they said."""

    settings: Settings
    rows: list[Row] = field(default_factory=list)
    blocks: int = 0

    def __post_init__(self) -> None:
        ids = topic_ids(self.settings, USAGE, PRICED)
        self.log_id, self.block_log_id = ids[USAGE], ids[PRICED]
        self.producer: Producer = block_producer(self.settings)
        self.next_offset: dict[int, int] = {}

    def publish(
        self,
        partition: int,
        count: int,
        *,
        at: datetime = NOON,
        apart: timedelta = timedelta(minutes=1),
        first: int | None = None,
        dropped: int = 0,
        log_id: str = "",
        said: bool = True,
    ) -> list[Row]:
        """A block of `count` calls from a source offset on, the partition's next by default; the call
        at offset n costs n + 1 picodollars. `dropped`: so many repeats follow them. `said`: whether ClickHouse shall
        have it."""
        start = self.next_offset.get(partition, 0) if first is None else first
        rows = [
            row(
                offset,
                at + apart * offset,
                PICO * (offset + 1),
                id=f"{partition}-{offset}",
                log_id=log_id or self.log_id,
                source_partition=partition,
                user=f"u{offset % 3}",
                workload=None if offset % 5 == 0 else f"w{offset % 4}",
                tags=[("team", f"t{offset % 2}")],
            )
            for offset in range(start, start + count)
        ]
        header = Header(
            log_id=log_id or self.log_id,
            block_log_id=self.block_log_id,
            source_partition=partition,
            first=start,
            last=start + count + dropped - 1,
            rows=count,
            price_version="test",
            duplicates=np.arange(start + count, start + count + dropped),
            event_time_max=int(rows[-1]["time"].replace(tzinfo=UTC).timestamp()) * 1_000_000,
        )
        batch = pa.RecordBatch.from_pylist(rows, schema=priced_arrow())
        self.producer.produce(PRICED, blocks.write(batch), partition=partition, headers=header.to_kafka())
        self.producer.flush(10)
        self.next_offset[partition] = max(self.next_offset.get(partition, 0), start + count + dropped)
        if said:
            self.rows += [each for each in rows if each not in self.rows]
        self.blocks += 1
        return rows


def coordinates(rows: Sequence[Row]) -> list[tuple[str, int, int, Decimal]]:
    return sorted((r["log_id"], r["source_partition"], r["source_offset"], r["cost_total"]) for r in rows)


def held(settings: Settings) -> list[tuple[str, int, int, Decimal]]:
    """What the raw table holds, copies included."""
    found = database(settings).query(
        "SELECT log_id, source_partition, source_offset, cost_total FROM usage ORDER BY ALL"
    )
    return [tuple(each) for each in found.result_rows]


def sums(settings: Settings) -> dict[str, tuple[int, Decimal]]:
    """Calls and cost in the raw table and in each rollup."""
    client = database(settings)
    return {
        what: client.query(f"SELECT toInt64({calls}), sum(cost_total) FROM {what}").result_rows[0]
        for what, calls in (
            ("usage", "count()"),
            ("usage_15m", "sum(calls)"),
            ("members_15m WHERE dimension = 'user'", "sum(calls)"),
            ("members_15m WHERE dimension = 'tags.team'", "sum(calls)"),
        )
    }


def equal_sums(calls: int, cost: Decimal) -> dict[str, tuple[int, Decimal]]:
    tables = ("usage", "usage_15m", "members_15m WHERE dimension = 'user'", "members_15m WHERE dimension = 'tags.team'")
    return dict.fromkeys(tables, (calls, cost))
