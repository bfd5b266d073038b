"""Readers of published traces of real requests: whole files as columns, with what they do not name assigned.

The traces carry times and token counts. Provider, model, workload and customer are assigned by line number alone, and
an event's id is its line number: sending a trace twice gives the same events, which the pipeline counts once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from streams.errors import SpendError
from streams.event_columns import EPOCH, event_batch
from streams.formats import BadLine, Portion

COUNTS = ("timestamp", "input_length", "output_length")
CACHE_BLOCK_TOKENS = 512  # Mooncake's README: each hash id stands for a block of 512 tokens


@dataclass(frozen=True)
class Assignment:
    """What a trace does not say. Request n has workload n mod W and customer (n div W) mod C, n counted from 0."""

    source: str
    provider: str
    model: str
    workloads: tuple[str, ...]
    customers: tuple[str, ...]


def read_azure_llm(stream: BinaryIO, assign: Assignment, *, start: datetime | None, now: datetime) -> Portion:
    """Events of Azure's LLM inference trace: TIMESTAMP (UTC), ContextTokens, GeneratedTokens.

    Args:
        stream: the CSV, decompressed.
        assign: what the trace does not say.
        start: where the first request is moved to; without one the last request ends at `now`.
        now: the present.

    Raises:
        SpendError: it is not such a trace.
    """
    content = stream.read()
    try:
        said = pl.read_csv(content, infer_schema=False, truncate_ragged_lines=True)
        told = said.select(
            line=pl.int_range(2, pl.len() + 2, dtype=pl.Int64),  # line 1 is the heading
            # Seven decimals: polars reads nanoseconds, an event's time is in whole microseconds.
            time=pl.col("TIMESTAMP")
            .str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ns", strict=False)
            .dt.epoch("us"),
            input_tokens=pl.col("ContextTokens").cast(pl.Int64, strict=False),
            output_tokens=pl.col("GeneratedTokens").cast(pl.Int64, strict=False),
        )
    except pl.exceptions.PolarsError as exc:
        raise SpendError("this is not an Azure LLM trace: TIMESTAMP,ContextTokens,GeneratedTokens is wanted") from exc
    good = told.drop_nulls()
    bad = told.filter(pl.any_horizontal(pl.all().is_null()))["line"]
    reason = "wants a time such as 2023-11-16 18:15:46.6805900 and two whole numbers"
    return Portion(
        _events(good, assign, start, now), good["line"].to_numpy(), [BadLine(number, reason) for number in bad]
    )


def read_mooncake(stream: BinaryIO, assign: Assignment, *, start: datetime | None, now: datetime) -> Portion:
    """Events of a Mooncake trace: timestamp (ms), input_length, output_length, hash_ids of the prompt's blocks.

    A request reads from the cache the longest run of leading blocks that earlier requests had (a prefix cache that
    never evicts): `cache_read_input_tokens` is 512 a block, at most input_length, since the last block may be partial.

    Args:
        stream: the JSON lines, decompressed.
        assign: what the trace does not say.
        start: where the first request is moved to; without one the last request ends at `now`.
        now: the present.

    Raises:
        SpendError: it is not such a trace.
    """
    lines = stream.read().splitlines()
    good: list[int] = []
    bad: list[int] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            (good if _is_request(line) else bad).append(number)
    if not good:
        raise SpendError("this is not a Mooncake trace: timestamp, input_length, output_length, hash_ids are wanted")
    said = pl.read_ndjson(
        b"\n".join(lines[number - 1] for number in good),
        schema={name: pl.Int64() for name in COUNTS} | {"hash_ids": pl.List(pl.Int64())},
    )
    seen = (
        said.lazy()
        .select(pl.int_range(pl.len()).alias("request"), "hash_ids")
        .explode("hash_ids", empty_as_null=True)
        .with_columns(
            again=(pl.col("request").min().over("hash_ids") < pl.col("request")) & pl.col("hash_ids").is_not_null()
        )
        .group_by("request", maintain_order=True)
        .agg(pl.col("again").cast(pl.Int64).cum_prod().sum().alias("leading"))
        .collect()["leading"]
    )
    told = said.select(
        line=pl.Series(good, dtype=pl.Int64),
        time=pl.col("timestamp") * 1000,
        input_tokens="input_length",
        output_tokens="output_length",
        cache_read_input_tokens=pl.min_horizontal(seen * CACHE_BLOCK_TOKENS, "input_length"),
    )
    reason = "wants timestamp, input_length, output_length as whole numbers and hash_ids as a list of them"
    return Portion(_events(told, assign, start, now), np.array(good), [BadLine(number, reason) for number in bad])


def _is_request(line: bytes) -> bool:
    try:
        said = json.loads(line)
        counts = [*(said[name] for name in COUNTS), *said["hash_ids"]]
    except (ValueError, KeyError, TypeError):
        return False
    return all(type(count) is int and 0 <= count < 2**53 for count in counts)


def _events(told: pl.DataFrame, assign: Assignment, start: datetime | None, now: datetime) -> pa.RecordBatch:
    if told.is_empty():
        raise SpendError("the trace has no request that can be read")
    first, last = told["time"].min(), told["time"].max()
    move = _micros(start) - first if start else _micros(now) - last  # type: ignore[operator]
    request = pl.int_range(pl.len())
    workload, customer = len(assign.workloads), len(assign.customers)
    frame = told.select(
        pl.col("line").cast(pl.String).alias("id"),
        pl.lit(assign.source).alias("source"),
        (pl.col("time") + move).cast(pl.Datetime("us")).alias("time"),
        pl.lit(assign.provider).alias("provider"),
        pl.lit(assign.model).alias("request_model"),
        pl.lit("chat").alias("operation"),
        pl.col("^(input|output|cache_read_input)_tokens$"),
        pl.lit(pl.Series(assign.workloads)).gather(request % workload).alias("workload"),
        pl.lit(pl.Series(assign.customers)).gather(request // workload % customer).alias("customer"),
    )
    return event_batch({column.name: column.to_arrow() for column in frame}, frame.height)


def _micros(at: datetime) -> int:
    zoned = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (zoned - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Trace:
    """A published trace that `spendstream produce --format` knows, with its defaults."""

    read: Callable[..., Portion]
    source: str
    provider: str
    model: str


TRACES: dict[str, Trace] = {
    "azure-llm": Trace(read_azure_llm, "azure-llm-2023", "azure.ai.openai", "gpt-4.1-mini"),
    "mooncake": Trace(read_mooncake, "mooncake-conversation", "moonshotai", "kimi-k2.5"),
}
