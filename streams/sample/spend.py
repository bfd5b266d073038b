"""What sample traffic costs: its events priced and summed by window and member, before any pipeline has seen them."""

from datetime import timedelta
from functools import lru_cache
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa

from streams.rate_sources import read_rates_file
from streams.sample.counts import NULL
from streams.sample.generator import Sample
from streams.spend.dimensions import COLUMNS, DIMENSIONS, GLOBAL, TAG
from streams.spend.price import COLUMNS as PRICED_BY
from streams.spend.price import price
from streams.spend.rates import RateTable, default_table

_WANTED = dict.fromkeys((*PRICED_BY, *(column for column in COLUMNS.values() if column != "model")))


@lru_cache
def sample_rates() -> RateTable:
    """The rates in force for the organisation: the published ones and its own (rates.yaml)."""
    return default_table(read_rates_file(Path(str(resources.files("streams.sample").joinpath("rates.yaml")))))


def priced(events: pa.RecordBatch, table: RateTable | None = None) -> pl.DataFrame:
    """Events as rows of `time`, a column a dimension (but global and tag), `tags`, `units` and `picos`.

    `units` is what the spend bought: input and output tokens, else calls. `picos` is Int64 picodollars; a call without
    a price counts as 0, as it does in a window. `table`: the sample's own rates when left out.
    """
    frame = pl.DataFrame(pl.from_arrow(events.select(list(_WANTED))))
    costs = price(frame, table or sample_rates())
    tokens = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)
    members = [pl.col(column).fill_null("").alias(dimension) for dimension, column in COLUMNS.items()]
    return frame.with_columns(costs["model"], costs["cost_total"].fill_null(0).alias("picos")).select(
        "time", *members, "tags", pl.when(tokens > 0).then(tokens).otherwise(1).alias("units"), "picos"
    )


def sound(sample: Sample) -> pa.RecordBatch:
    """The sample's events that are to be counted, each once."""
    return sample.events.filter(pa.array(sample.spoilt == NULL))


def by_member(frame: pl.DataFrame, dimension: str, every: timedelta, zone: ZoneInfo | None = None) -> pl.DataFrame:
    """Spend of each window of each member: `start`, `member`, `picos`, `units`, sorted; none for windows without calls.

    Args:
        frame: of `priced`.
        dimension: of DIMENSIONS.
        every: width of the windows.
        zone: whose midnights days begin at; UTC when left out.

    Raises:
        ValueError: there is no such dimension.
    """
    if dimension not in DIMENSIONS:
        raise ValueError(f"there is no dimension {dimension}")
    if dimension == GLOBAL:
        frame = frame.with_columns(member=pl.lit(""))
    elif dimension == TAG:
        pairs = pl.col("tags").cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
        tags = frame.with_columns(pairs).filter(pl.col("tags").list.len() > 0).explode("tags").unnest("tags")
        frame = tags.with_columns(member=pl.concat_str("key", pl.lit("="), "value"))
    else:
        frame = frame.with_columns(member=pl.col(dimension))
    start = pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone(zone.key if zone else "UTC")
    windows = frame.group_by(start.dt.truncate(every).alias("start"), "member")
    return windows.agg(pl.col("picos").sum(), pl.col("units").sum()).sort("member", "start")
