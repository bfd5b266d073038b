"""The windows block's schema: what the windows worker publishes on spend.windows and ClickHouse's `windows` holds."""

from functools import lru_cache

import pyarrow as pa

from schemas.priced import COSTS, MONEY
from streams.spend.dimensions import COUNTS

LEVELS: tuple[str, ...] = ("minute", "quarter_hour", "day")

KEY: tuple[pa.Field, ...] = (
    pa.field("log_id", pa.string(), nullable=False),
    pa.field("level", pa.string(), nullable=False),  # of LEVELS
    # of a day: the local midnight in SPEND_TIMEZONE, as an instant
    pa.field("start", pa.timestamp("s", "UTC"), nullable=False),
    pa.field("dimension", pa.string(), nullable=False),  # of streams.spend.dimensions.DIMENSIONS
    pa.field("member", pa.string(), nullable=False),
)


@lru_cache
def windows_arrow() -> pa.Schema:
    """Arrow schema of a windows block's record batches: a window's key, its version, its counts, its costs."""
    return pa.schema(
        [
            *KEY,
            pa.field("version", pa.int64(), nullable=False),  # the greatest of a key counts
            *(pa.field(name, pa.int64(), nullable=False) for name in COUNTS),
            *(pa.field(name, MONEY, nullable=False) for name in COSTS),
        ]
    )
