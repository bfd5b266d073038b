"""The windows block: rows of ClickHouse's `windows` as one Arrow IPC stream. Pure."""

from collections.abc import Mapping, Sequence

import polars as pl

from schemas.windows import windows_arrow
from streams import blocks
from streams.spend.windows import KEY


def windows_block(log_id: str, changed: Mapping[str, Sequence[pl.DataFrame]]) -> bytes:
    """Windows that changed, by level; of one that is there several times the last counts."""
    schema = windows_arrow()
    frames = [
        pl.concat(frames)
        .unique(KEY, keep="last")
        .select(
            pl.lit(log_id).alias("log_id"),
            pl.lit(level).alias("level"),
            pl.from_epoch("start", time_unit="s").dt.replace_time_zone("UTC"),
            *schema.names[3:],
        )
        for level, frames in changed.items()
    ]
    table = pl.concat(frames).sort("level", "dimension", "member", "start").to_arrow()
    return blocks.write(table.cast(schema).combine_chunks().to_batches()[0])
