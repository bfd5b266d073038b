"""Windows worked out from raw rows one call at a time, in Python's integers and decimals, and blocks of them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from confluent_kafka import Producer

from schemas.priced import COSTS
from schemas.windows import LEVELS, windows_arrow
from streams.settings import Settings
from streams.topics import WINDOWS

Row = dict[str, Any]
Window = dict[str, Any]

TOKENS = [name for name in windows_arrow().names if name.endswith("_tokens")]
BY_COLUMN = (
    *("provider", "model", "workload", "customer", "team", "project"),
    *("user", "service", "server", "gateway", "environment"),
)


def windows_of(
    rows: Iterable[Row], zone: ZoneInfo, version: int = 1, since: dict[str, datetime] | None = None
) -> list[Window]:
    """Every window that these calls make. `since`: by level, where earlier windows are frozen and never published."""
    found: dict[tuple[str, datetime, str, str], Window] = {}
    for row in rows:
        at = row["time"].replace(tzinfo=UTC) if row["time"].tzinfo is None else row["time"].astimezone(UTC)
        members = [("global", ""), *((name, row[name] or "") for name in BY_COLUMN)]
        members += [("tag", f"{key}={value}") for key, value in dict(row["tags"]).items()]
        for level in LEVELS:
            start = start_of(at, level, zone)
            if since and level in since and start < since[level]:
                continue
            for dimension, member in members:
                key = level, start, dimension, member
                add(found.setdefault(key, empty(row["log_id"], key, version)), row)
    return list(found.values())


def start_of(at: datetime, level: str, zone: ZoneInfo) -> datetime:
    if level == "day":
        local = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
        return local.replace(tzinfo=zone).astimezone(UTC)
    minutes = 1 if level == "minute" else 15
    return at.replace(second=0, microsecond=0) - timedelta(minutes=at.minute % minutes)


def empty(log_id: str, key: tuple[str, datetime, str, str], version: int) -> Window:
    level, start, dimension, member = key
    named = {"log_id": log_id, "level": level, "start": start, "dimension": dimension, "member": member}
    zeros = {name: Decimal(0) if name in COSTS else 0 for name in windows_arrow().names}
    return {**zeros, **named, "version": version}


def add(window: Window, row: Row) -> None:
    window["calls"] += 1
    window["errors"] += row["error_type"] is not None
    window["cache_hits"] += row["cache_outcome"] == "hit"
    window["unpriced_calls"] += row["pricing_status"] == "unpriced"
    window["partial_calls"] += row["pricing_status"] == "partial"
    for name in TOKENS:
        window[name] += row[name] or 0
    for name in COSTS:
        window[name] += row[name] or Decimal(0)


def block(windows: list[Window]) -> bytes:
    """A windows block: an Arrow IPC stream (lz4) of one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, windows_arrow(), options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(pa.RecordBatch.from_pylist(windows, schema=windows_arrow()))
    return bytes(sink.getvalue().to_pybytes())


def publish(producer: Producer, settings: Settings, windows: list[Window], size: int = 2_000) -> None:
    """Publish them in blocks, each dimension on a partition of its own choice; wait for Kafka."""
    parts: dict[int, list[Window]] = {}
    for window in windows:
        partition = sum(map(ord, window["dimension"] + window["member"])) % settings.partitions
        parts.setdefault(partition, []).append(window)
    for partition, part in parts.items():
        for at in range(0, len(part), size):
            producer.produce(WINDOWS, block(part[at : at + size]), partition=partition)
    assert producer.flush(20) == 0
