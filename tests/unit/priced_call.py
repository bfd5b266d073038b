"""One call, priced by the pipeline's own code, in dollars: what the pricing tests assert against."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from schemas.priced import COSTS, usage_event_arrow
from streams.spend.price import price
from streams.spend.rates import Rate, RateTable, default_table

MTOK = Decimal(1_000_000)
NOON = "2026-11-04T12:00:00"  # a Wednesday, in nobody's peak hours


class Priced(NamedTuple):
    """What pricing said of a call; money in US dollars, None where there is no price."""

    status: str
    rate_id: str | None
    units: str | None
    problem: str | None
    total: Decimal | None
    costs: dict[str, Decimal | None]


@cache
def published_table() -> RateTable:
    """The default prices, compiled once for all tests."""
    return default_table()


def table_of(*rates: dict[str, Any]) -> RateTable:
    """The default prices and these own rates."""
    return default_table([Rate.model_validate(rate) for rate in rates])


def events(calls: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Calls as a decoded batch has them."""
    blank = {
        "id": "1",
        "source": "test",
        "operation": "chat",
        "usage_status": "final",
        "cost_category": "inference",
        "quantities": {},
        "tags": {},
    }
    rows = []
    for one in calls:
        row = {**blank, **one, "time": datetime.fromisoformat(one["time"])}
        rows.append({**row, "quantities": list(row["quantities"].items()), "tags": list(row["tags"].items())})
    return pl.DataFrame(pa.RecordBatch.from_pylist(rows, schema=usage_event_arrow()))


def prices(calls: Sequence[dict[str, Any]], table: RateTable | None = None) -> list[Priced]:
    """Price calls, all in one batch."""
    result = []
    for row in price(events(calls), table or published_table()).iter_rows(named=True):
        money = {name: None if row[name] is None else Decimal(row[name]).scaleb(-12) for name in COSTS}
        result.append(
            Priced(
                row["pricing_status"],
                row["rate_id"],
                row["unpriced_units"],
                row["problem"],
                money.pop("cost_total"),
                money,
            )
        )
    return result


def call(provider: str, model: str, at: str = NOON, table: RateTable | None = None, **fields: Any) -> Priced:
    """Price one call."""
    return prices([{"provider": provider, "request_model": model, "time": at, **fields}], table)[0]


def cost(provider: str, model: str, at: str = NOON, table: RateTable | None = None, **fields: Any) -> Decimal | None:
    """What one call costs in all, in US dollars."""
    return call(provider, model, at, table, **fields).total
