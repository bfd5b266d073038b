"""The quantities of a batch of events (searches, seconds, images, ...): what they cost and which have no price."""

import numpy as np
import polars as pl

from schemas.bounds import MAX_QUANTITY
from streams.spend.price_sheet import QUANTITY_ALIASES
from streams.spend.rate_rows import RateRows

# component -> the column with its quantities' numerators
EXTRAS = {"cost_audio": "extra_audio", "cost_image": "extra_image", "cost_quantities": "extra_quantities"}
_NO_QUANTITIES = {
    **dict.fromkeys(EXTRAS.values(), 0),
    **dict.fromkeys(("known_quantity", "counts_requests", "absurd_quantity"), False),
    "unknown_quantities": None,
}
_ENTRIES = pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))


def quantities(frame: pl.DataFrame, located: np.ndarray, rows: RateRows) -> pl.DataFrame:
    """Of each event: numerators of its quantities by component, names without a price, whether any has one."""
    counted = frame.select(pl.col("quantities").cast(_ENTRIES)).to_series()
    events = (counted.list.len() > 0).arg_true()
    amount = pl.when(pl.col("value") > MAX_QUANTITY).then(0).otherwise(pl.max_horizontal("value", "floor"))
    long = (
        pl.DataFrame({"event": events, "row": pl.Series(located).gather(events), "entry": counted.gather(events)})
        .explode("entry")
        .unnest("entry")
        .filter(pl.col("value") != 0)
        .with_columns(quantity=pl.col("key").replace(QUANTITY_ALIASES))
        .join(rows.quantities, on=["row", "quantity"], how="left")
        .with_columns(amount=amount.cast(pl.Int128) * pl.col("numerator").fill_null(0))
    )
    by_event = long.select(
        "event",
        *(
            pl.when(pl.col("component") == component).then("amount").otherwise(0).alias(extra)
            for component, extra in EXTRAS.items()
        ),
        known_quantity=pl.col("numerator").is_not_null(),
        counts_requests=pl.col("quantity") == "request",
        absurd_quantity=(pl.col("value") > MAX_QUANTITY) | (pl.col("value") < 0),
    ).group_by("event")
    sums = by_event.agg(
        *(pl.col(extra).sum() for extra in EXTRAS.values()),
        *(pl.col(flag).any() for flag in ("known_quantity", "counts_requests", "absurd_quantity")),
    )
    unknown = long.filter(pl.col("numerator").is_null()).sort("key").group_by("event", maintain_order=True)
    sums = sums.join(unknown.agg(unknown_quantities=pl.col("key").str.join(",")), on="event", how="left")
    nothing = pl.DataFrame([_NO_QUANTITIES], schema=sums.drop("event").schema)
    place = np.zeros(frame.height, dtype=np.int64)  # row 0 stands for events that count no quantity
    place[sums["event"].to_numpy()] = np.arange(1, sums.height + 1)
    return pl.concat([nothing, sums.drop("event")])[place]
