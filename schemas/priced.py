"""The priced block's schema: all columns of a UsageEvent, what pricing added, and the coordinates.

The Avro schema is the source; this module derives the rest from it.
"""

from functools import lru_cache
from importlib import resources

import pyarrow as pa
import pyruhvro

MONEY = pa.decimal128(38, 12)  # US dollars; the unscaled integer is picodollars

TEXT = pa.dictionary(pa.int32(), pa.string())  # a text of few values: each once, and its number in every row

FEW_VALUES: tuple[str, ...] = (
    *("source", "provider", "request_model", "operation", "response_model", "usage_status", "finish_reason"),
    *("error_type", "server", "region", "service_tier", "speed", "reported_cost_currency", "workload", "customer"),
    *("team", "project", "service", "gateway", "api_key_id", "environment", "workflow", "agent", "release"),
    *("cost_category", "cache_outcome", "unit_type"),
)
"""Texts of the event that are dictionaries in a block, and LowCardinality in ClickHouse, which then takes them as they
are: hashing every row again took it half of an insert (docs/performance.md)."""

COST_COMPONENTS: tuple[str, ...] = (
    "cost_input",
    "cost_cache_read",
    "cost_cache_write",
    "cost_output",
    "cost_audio",
    "cost_image",
    "cost_quantities",
)
COSTS: tuple[str, ...] = (*COST_COMPONENTS, "cost_total")

PRICING_FIELDS: tuple[pa.Field, ...] = (
    pa.field("model", TEXT, nullable=False),  # response_model, else request_model
    pa.field("pricing_status", TEXT, nullable=False),  # priced, partial, unpriced
    pa.field("rate_id", TEXT),  # the rate that priced it; null when unpriced
    pa.field("price_version", TEXT, nullable=False),  # version of the rate data
    pa.field("unpriced_units", TEXT),  # buckets with a count and no price, comma separated
    *(pa.field(name, MONEY) for name in COSTS),  # null: no price (never 0)
)

COORDINATES: tuple[pa.Field, ...] = (
    pa.field("record_time", pa.timestamp("us"), nullable=False),  # Kafka timestamp of the record
    pa.field("log_id", TEXT, nullable=False),
    pa.field("source_partition", pa.int32(), nullable=False),
    pa.field("source_offset", pa.int64(), nullable=False),
)


def usage_event_avsc() -> str:
    """The current UsageEvent schema, as published."""
    return resources.files("schemas").joinpath("usage_event.avsc").read_text(encoding="utf-8")


@lru_cache
def usage_event_arrow() -> pa.Schema:
    """Arrow schema of decoded events: what pyruhvro gives for the Avro schema (times are naive UTC)."""
    return pyruhvro.avro_to_arrow_schema(usage_event_avsc())


@lru_cache
def priced_arrow() -> pa.Schema:
    """Arrow schema of a priced block's one record batch."""
    event = [f.with_type(TEXT) if f.name in FEW_VALUES else f for f in usage_event_arrow()]
    return pa.schema([*event, *PRICING_FIELDS, *COORDINATES])
