"""Priced rows as the sink inserts them, and embedded servers to work on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from clickhouse.insert_settings import insert_settings
from schemas.priced import priced_arrow
from streams.embedded import answers, broker
from streams.ports import free_port
from streams.settings import Settings

Row = dict[str, Any]


@contextmanager
def embedded_clickhouse(path: Path) -> Iterator[Settings]:
    """The embedded server over the files in `path`; settings that reach it."""
    port = free_port()
    settings = Settings(clickhouse_url=f"http://127.0.0.1:{port}")
    process = subprocess.Popen(
        [sys.executable, "-m", "clickhouse.embedded_server", "--port", str(port), "--path", str(path)],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if not name.startswith("SPEND_CLICKHOUSE")},
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{settings.clickhouse_url}/ping"):
            assert process.poll() is None and time.monotonic() < deadline, "the embedded server did not start"
            time.sleep(0.05)
        yield settings
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def embedded_broker(settings: Settings) -> Iterator[None]:
    """The embedded broker, empty, at the settings' address."""
    server = broker(settings)
    process = subprocess.Popen(server.command, env={**os.environ, **server.environment})
    try:
        deadline = time.monotonic() + 60
        while not server.ready():
            assert process.poll() is None and time.monotonic() < deadline, "the embedded broker did not start"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def row(offset: int, at: datetime, cost: Decimal | None, **columns: Any) -> Row:
    """One priced call; without a cost it is unpriced. All of the cost is input."""
    told: Row = {
        "id": f"call-{offset}",
        "source": "gateway-a",
        "time": at.astimezone(UTC).replace(tzinfo=None),
        "provider": "openai",
        "request_model": "gpt-4o",
        "operation": "chat",
        "usage_status": "final",
        "cost_category": "inference",
        "quantities": [],
        "tags": [],
        "model": "gpt-4o",
        "pricing_status": "unpriced" if cost is None else "priced",
        "price_version": "test",
        "cost_total": cost,
        "cost_input": cost,
        "input_tokens": 0,
        "output_tokens": 0,
        "record_time": at.astimezone(UTC).replace(tzinfo=None),
        "log_id": "log",
        "source_partition": 0,
        "source_offset": offset,
    }
    return {**told, **columns}


def insert(client: Client, settings: Settings, rows: list[Row], token: str) -> None:
    """One block, one insert, one token, as the sink does it."""
    batch = pa.RecordBatch.from_pylist(rows, schema=priced_arrow())
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(batch)
    client.raw_insert(
        f"{settings.clickhouse_database}.usage",
        insert_block=buffer.getvalue().to_pybytes(),
        fmt="ArrowStream",
        settings=insert_settings(token),
    )
