"""The priced block's schema: all columns of a UsageEvent, what pricing added, and the coordinates.

The Avro schema is the source; this module derives the rest from it.
"""

from functools import lru_cache
from importlib import resources

import pyarrow as pa
import pyruhvro

MONEY = pa.decimal128(38, 12)  # US dollars; the unscaled integer is picodollars

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
    pa.field("model", pa.string(), nullable=False),  # response_model, else request_model
    pa.field("pricing_status", pa.string(), nullable=False),  # priced, partial, unpriced
    pa.field("rate_id", pa.string()),  # the rate that priced it; null when unpriced
    pa.field("price_version", pa.string(), nullable=False),  # version of the rate data
    pa.field("unpriced_units", pa.string()),  # buckets with a count and no price, comma separated
    *(pa.field(name, MONEY) for name in COSTS),  # null: no price (never 0)
)

COORDINATES: tuple[pa.Field, ...] = (
    pa.field("record_time", pa.timestamp("us"), nullable=False),  # Kafka timestamp of the record
    pa.field("log_id", pa.string(), nullable=False),
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
    return pa.schema([*usage_event_arrow(), *PRICING_FIELDS, *COORDINATES])
