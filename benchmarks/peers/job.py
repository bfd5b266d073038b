"""The job that every peer does, as far as it is no framework's: read an event, price it, say what it adds to, store it.

Each step is the one that its library's documentation shows: fastavro's schemaless reader, genai-prices' `calc_price`,
clickhouse-connect's `insert`. Peers run where the project is not installed, so nothing of it is imported; where broker
and database are, they learn from the environment.
"""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import clickhouse_connect
import fastavro
from clickhouse_connect.driver.client import Client
from genai_prices import Usage, calc_price

BROKERS = os.environ.get("SPEND_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
TOPIC = "bench.usage"  # the first records of spend.usage, as many as a peer is given
PARTITIONS = int(os.environ.get("SPEND_PARTITIONS", "4"))
STATE = Path(os.environ.get("SPEND_STATE_DIR", ".spend"))

DIMENSIONS = ("workload", "customer", "team", "user", "provider", "model")  # and global: seven
MINUTE = 60
INSERT_ROWS = 2_000
INSERT_SECONDS = 1.0

PROVIDERS = {"x_ai": "x-ai"}  # OpenTelemetry's name to genai-prices' own, where that does not know it
PREFIX_BYTES = 10  # Avro single-object encoding: c3 01 and the schema's fingerprint
PICOS = Decimal(10**12)  # money as whole picodollars: sums of floats would differ by the order of adding

_SCHEMA = fastavro.parse_schema(
    json.loads((Path(__file__).parents[2] / "schemas" / "usage_event.avsc").read_text(encoding="utf-8"))
)

ROW_COLUMNS = ("source", "id", "time", *DIMENSIONS, "input_tokens", "output_tokens", "cost")
WINDOW_COLUMNS = ("dimension", "member", "minute", "calls", "cost")

Event = dict[str, Any]
Row = tuple[Any, ...]


def decode(value: bytes) -> Event | None:
    """A usage event, with its `model` (the one that answered); None when the record is none."""
    try:
        event: Any = fastavro.schemaless_reader(BytesIO(value[PREFIX_BYTES:]), _SCHEMA, None)
    except Exception:
        return None  # fastavro raises whatever the bytes lead it to; a peer that ended would measure nothing
    event["model"] = event["response_model"] or event["request_model"]
    return event  # type: ignore[no-any-return]


def price(event: Event) -> int | None:
    """The call's cost in picodollars, None when its model has no price."""
    try:
        found = calc_price(
            usage(event),
            model_ref=event["model"],
            provider_id=PROVIDERS.get(event["provider"], event["provider"]),
            genai_request_timestamp=event["time"],
            price_context=price_context(event),
        )
    except (LookupError, ValueError):  # no such model, or counts that contradict each other
        return None
    return picodollars(found.total_price)


def usage(event: Event) -> Usage:
    """The event's counts as genai-prices takes them."""
    return Usage(
        input_tokens=event["input_tokens"],
        output_tokens=event["output_tokens"],
        cache_read_tokens=event["cache_read_input_tokens"],
        cache_write_tokens=event["cache_creation_input_tokens"],
        input_audio_tokens=event["audio_input_tokens"],
        output_audio_tokens=event["audio_output_tokens"],
    )


def price_context(event: Event) -> dict[str, str]:
    """What selects a batch, tier or speed price, as genai-prices takes it."""
    found = {"service_tier": event["service_tier"], "speed": event["speed"]}
    found["processing"] = "batch" if event["is_batch"] else None
    return {name: value for name, value in found.items() if value}


def picodollars(dollars: Decimal) -> int:
    """US dollars as whole picodollars."""
    return int((dollars * PICOS).to_integral_value())


def members(event: Event) -> list[tuple[str, str]]:
    """The seven (dimension, member) that an event adds to; '' where it bears none."""
    return [("global", ""), *((name, event[name] or "") for name in DIMENSIONS)]


def minute(event: Event) -> int:
    """The begin of the event's minute, seconds since 1970."""
    return int(event["time"].timestamp()) // MINUTE * MINUTE


def row(event: Event, picos: int | None) -> Row:
    """The priced event as the table has it, `ROW_COLUMNS`."""
    texts = (event[name] or "" for name in DIMENSIONS)
    counts = (event["input_tokens"] or 0, event["output_tokens"] or 0)
    return (event["source"], event["id"], event["time"], *texts, *counts, None if picos is None else picos / PICOS)


def window(dimension: str, member: str, begin: int, calls: int, picos: int) -> Row:
    """A minute of a member as the table has it, `WINDOW_COLUMNS`. `begin`: seconds since 1970."""
    return (dimension, member, datetime.fromtimestamp(begin, UTC), calls, picos / PICOS)


class Store:
    """The peer's two tables: `priced` and `minutes`, where of several rows of a window the one with most calls counts.

    Args:
        database: is made, with its tables, when it is not there.
    """

    def __init__(self, database: str) -> None:
        self._client = connect()
        self._database = database
        texts = ", ".join(f"{name} {'String' if name == 'user' else 'LowCardinality(String)'}" for name in DIMENSIONS)
        self._client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        self._client.command(
            f"CREATE TABLE IF NOT EXISTS {database}.priced (source LowCardinality(String), id String, "
            f"time DateTime64(6, 'UTC'), {texts}, input_tokens Int64, output_tokens Int64, "
            "cost Nullable(Decimal(38, 12))) ENGINE MergeTree ORDER BY time"
        )
        self._client.command(
            f"CREATE TABLE IF NOT EXISTS {database}.minutes (dimension LowCardinality(String), member String, "
            "minute DateTime('UTC'), calls UInt64, cost Decimal(38, 12)) "
            "ENGINE ReplacingMergeTree(calls) ORDER BY (dimension, member, minute)"
        )

    def insert_rows(self, rows: Iterable[Row]) -> None:
        """Insert priced events."""
        self._insert("priced", list(rows), ROW_COLUMNS)

    def insert_windows(self, windows: Iterable[Row]) -> None:
        """Insert minutes."""
        self._insert("minutes", list(windows), WINDOW_COLUMNS)

    def _insert(self, table: str, rows: list[Row], columns: tuple[str, ...]) -> None:
        if rows:
            self._client.insert(table, rows, column_names=columns, database=self._database)


def connect() -> Client:
    """A client of the database that the environment names."""
    return clickhouse_connect.get_client(
        dsn=os.environ.get("SPEND_CLICKHOUSE_URL", "http://127.0.0.1:8123"),
        username=os.environ.get("SPEND_CLICKHOUSE_USER", "default"),
        password=os.environ.get("SPEND_CLICKHOUSE_PASSWORD", ""),
    )
