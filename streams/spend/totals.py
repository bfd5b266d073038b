"""What a priced block adds to each member of each dimension, minute by minute. Pure.

A delta is a row (dimension, member, minute) with sums over the block's calls. Sums of money are 128-bit decimals, so
that nothing wraps, and are added as they stand in the block: nothing is priced a second time.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from schemas.priced import COSTS
from streams.partitioner import partitions_of
from streams.spend.dimensions import COLUMNS, COUNTS, GLOBAL, TAG

MEASURES: tuple[str, ...] = (*COUNTS, *COSTS)
_TOKENS = tuple(name for name in COUNTS if name.endswith("_tokens"))
_MONEY = pl.Decimal(38, 12)
SCHEMA = pl.Schema(
    {
        "dimension": pl.String(),
        "member": pl.String(),
        "minute": pl.Int64(),  # seconds since 1970
        **dict.fromkeys(COUNTS, pl.Int64()),
        **dict.fromkeys(COSTS, _MONEY),
    }
)


def deltas(block: pa.RecordBatch) -> pl.DataFrame:
    """The deltas of a block, schema `SCHEMA`.

    Args:
        block: rows of `schemas.priced.priced_arrow()`; texts may be dictionaries or plain (blocks of format 1).
    """
    if not block.num_rows:
        return SCHEMA.to_frame()
    measured = _measures(block)
    overall = measured.group_by("minute").agg(pl.all().sum())
    found = [overall.select(pl.lit(GLOBAL).alias("dimension"), pl.lit("").alias("member"), "minute", *MEASURES)]
    found += [_of_dimension(name, block.column(column), measured) for name, column in COLUMNS.items()]
    bearers, members = _tags(block.column("tags"))
    found.append(_of_dimension(TAG, members, measured[bearers]))
    return pl.concat(found)


def split(frame: pl.DataFrame, partitions: int) -> list[pl.DataFrame]:
    """The deltas by partition of spend.totals: a member has all of its windows in one place.

    Raises:
        ValueError: `partitions` is not above zero.
    """
    if partitions < 1:
        raise ValueError("spend.totals has at least one partition")
    members = frame.select("dimension", "member").unique()
    keys = [member_key(dimension, member) for dimension, member in members.iter_rows()]
    placed = members.with_columns(partition=pl.Series(partitions_of(keys, partitions), dtype=pl.Int64))
    with_place = frame.join(placed, on=["dimension", "member"], how="left")
    return [with_place.filter(partition=number).drop("partition") for number in range(partitions)]


def member_key(dimension: str, member: str) -> bytes:
    """What decides a member's partition of spend.totals."""
    return f"{dimension}\0{member}".encode()


def _measures(block: pa.RecordBatch) -> pl.DataFrame:
    names = ("time", "error_type", "cache_outcome", "pricing_status", *_TOKENS, *COSTS)
    frame = pl.DataFrame(block.select(names))
    status, outcome = pl.col("pricing_status").cast(pl.String), pl.col("cache_outcome").cast(pl.String)
    return frame.select(
        (pl.col("time").dt.epoch("s") // 60 * 60).alias("minute"),
        pl.lit(1, dtype=pl.Int64).alias("calls"),
        pl.col("error_type").is_not_null().cast(pl.Int64).alias("errors"),
        (outcome == "hit").fill_null(False).cast(pl.Int64).alias("cache_hits"),
        (status == "unpriced").cast(pl.Int64).alias("unpriced_calls"),
        (status == "partial").cast(pl.Int64).alias("partial_calls"),
        *(pl.col(name).fill_null(0) for name in (*_TOKENS, *COSTS)),
    )


def _of_dimension(dimension: str, members: pa.Array, measured: pl.DataFrame) -> pl.DataFrame:
    """Sums by member and minute, grouped by the members' numbers: faster than by their names."""
    coded = members if pa.types.is_dictionary(members.type) else members.dictionary_encode()
    names = pl.Series([*coded.dictionary.to_pylist(), ""], dtype=pl.String).fill_null("")
    code = pl.Series("code", coded.indices).cast(pl.Int64).fill_null(len(names) - 1)
    if names.n_unique() < len(names):  # an empty text is no other member than an absent one
        first = {name: at for at, name in reversed(list(enumerate(names)))}
        code = pl.Series("code", [first[name] for name in names], dtype=pl.Int64).gather(code)
    sums = measured.with_columns(code).group_by("minute", "code").agg(pl.all().sum())
    member = names.gather(sums["code"]).alias("member")
    return sums.select(pl.lit(dimension).alias("dimension"), member, "minute", *MEASURES)


def _tags(tags: pa.MapArray) -> tuple[np.ndarray, pa.Array]:
    """The row and the member, key=value, of each entry."""
    offsets = tags.offsets.to_numpy()
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = tags.keys.slice(first, count), tags.items.slice(first, count)
    rows = np.repeat(np.arange(len(tags)), np.diff(offsets))
    return rows, pc.binary_join_element_wise(keys, values, "=")
