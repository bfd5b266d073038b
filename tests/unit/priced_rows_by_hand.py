"""Priced blocks of made-up calls, and what they add up to, worked out one call at a time in Python's own numbers."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from schemas.priced import COSTS, priced_arrow
from streams.spend.dimensions import COLUMNS, COUNTS
from streams.spend.totals import MEASURES, SCHEMA

Call = dict[str, Any]
"""Columns of a priced block; `at` in seconds since 1970, costs in picodollars, `tags` as pairs."""
Sums = dict[str, int]
"""By measure; money in picodollars."""

_CENTS = Decimal("1E-12")


def priced_block(calls: Iterable[Call], schema: pa.Schema | None = None) -> pa.RecordBatch:
    """A block's batch; in `schema` texts may be plain."""
    rows = []
    for number, call in enumerate(calls):
        row = {
            "id": str(number), "source": "test", "provider": "openai", "request_model": "m", "operation": "chat",
            "usage_status": "final", "cost_category": "inference", "quantities": [], "tags": [], "model": "m",
            "pricing_status": "priced", "price_version": "1", "record_time": datetime(2026, 11, 27), "log_id": "log",
            "source_partition": 0, "source_offset": number, **call,
        }  # fmt: skip
        at = row.pop("at")
        row["time"] = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        for name in COSTS:
            row[name] = None if row.get(name) is None else Decimal(row[name]) * _CENTS
        rows.append(row)
    return pa.RecordBatch.from_pylist(rows, schema=schema or priced_arrow())


def sums_of(calls: Iterable[Call]) -> dict[tuple[str, str, int], Sums]:
    """What the calls add to each (dimension, member, minute)."""
    found: dict[tuple[str, str, int], Sums] = defaultdict(lambda: dict.fromkeys(MEASURES, 0))
    for call in calls:
        added = {name: int(call.get(name) or 0) for name in MEASURES}
        added |= {
            "calls": 1,
            "errors": int(call.get("error_type") is not None),
            "cache_hits": int(call.get("cache_outcome") == "hit"),
            "unpriced_calls": int(call.get("pricing_status") == "unpriced"),
            "partial_calls": int(call.get("pricing_status") == "partial"),
        }
        named = {"provider": "openai", "model": "m", **call}
        members = [("global", ""), *((dimension, named.get(column) or "") for dimension, column in COLUMNS.items())]
        members += [("tag", f"{key}={value}") for key, value in call.get("tags", ())]
        for dimension, member in members:
            mine = found[dimension, member, call["at"] // 60 * 60]
            for name, value in added.items():
                mine[name] += value
    return dict(found)


def summed(frame: pl.DataFrame, *key: str) -> dict[tuple[Any, ...], Sums]:
    """A frame's rows by their key; no key may stand there twice."""
    found: dict[tuple[Any, ...], Sums] = {}
    money = {name: frame[name].to_physical().to_list() for name in COSTS}
    for at, row in enumerate(frame.iter_rows(named=True)):
        where = tuple(row[name] for name in key)
        assert where not in found, f"{where} stands there twice"
        found[where] = {name: row[name] for name in COUNTS} | {name: money[name][at] for name in COSTS}
    return found


def deltas_of(rows: Iterable[tuple[str, str, int, Sums]]) -> pl.DataFrame:
    """Deltas of (dimension, member, second, measures); what is not said is 0."""
    table: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    for dimension, member, second, said in rows:
        table["dimension"].append(dimension)
        table["member"].append(member)
        table["minute"].append(second // 60 * 60)
        for name in MEASURES:
            value = said.get(name, 1 if name == "calls" else 0)
            table[name].append(Decimal(value) * _CENTS if name in COSTS else value)
    return pl.DataFrame(table, schema=SCHEMA)
