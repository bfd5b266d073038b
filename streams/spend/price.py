"""Price a batch of events: find each one's rate row, split its tokens into disjoint buckets, multiply, round once.

Money is integers of picodollars. A component is the exact sum of its products over the rate's denominator in 128-bit
integers, rounded half to even once. Nothing here is done event by event in Python: distinct kinds of calls are resolved
once, the rest is columns.
"""

import numpy as np
import polars as pl

from schemas.bounds import MAX_QUANTITY
from schemas.priced import COST_COMPONENTS, COSTS
from streams.spend.price_quantities import EXTRAS, quantities
from streams.spend.price_sheet import BUCKETS
from streams.spend.rate_rows import rate_rows
from streams.spend.rates import RateKey, RateTable

MAX_COST = 10**18  # picodollars: a million US dollars an event

_COUNTS = {
    "inp": "input_tokens",
    "read": "cache_read_input_tokens",
    "write": "cache_creation_input_tokens",
    "hour": "cache_creation_1h_input_tokens",
    "audio_in": "audio_input_tokens",
    "image_in": "image_input_tokens",
    "out": "output_tokens",
    "thought": "reasoning_output_tokens",
    "audio_out": "audio_output_tokens",
    "image_out": "image_output_tokens",
}
# The event's columns that decide its price, all that `price` looks at.
COLUMNS = (
    "time",
    "provider",
    "request_model",
    "response_model",
    "service_tier",
    "is_batch",
    "speed",
    "region",
    "customer",
    "tags",
    "quantities",
    *_COUNTS.values(),
)
_COMPONENT_BUCKETS = {
    "cost_input": ("input",),
    "cost_cache_read": ("cache_read",),
    "cost_cache_write": ("cache_write", "cache_write_1h"),
    "cost_output": ("output", "reasoning"),
    "cost_audio": ("audio_input", "audio_cache_read", "audio_output"),
    "cost_image": ("image_input", "image_cache_read", "image_output"),
    "cost_quantities": (),
}


def price(frame: pl.DataFrame, table: RateTable) -> pl.DataFrame:
    """Price events.

    Args:
        frame: events, with at least COLUMNS of UsageEvent; one row an event.
        table: the rates.

    Returns:
        The same rows in the same order: model, pricing_status (priced, partial, unpriced), rate_id, price_version,
        unpriced_units (counted without a price, comma separated), the cost components and cost_total as Int64
        picodollars (null when unpriced; 0 when priced and nothing of the kind was counted), and problem (null, or
        `cost_out_of_bounds` for more than a million dollars or more than 10**12 of anything; its costs are null).
    """
    rows = rate_rows(table)
    kinds = _kinds(frame, table)
    counts = frame.select(pl.col(column).fill_null(0).alias(name) for name, column in _COUNTS.items())
    absurd = counts.select((pl.max_horizontal(pl.all()) > MAX_QUANTITY) | (pl.min_horizontal(pl.all()) < 0)).to_series()
    if absurd.any():
        counts = counts.select(pl.when(~absurd).then(pl.all()).otherwise(0).name.keep())
    located = rows.locate(
        rows.plan_ids(kinds.keys)[kinds.index],
        frame["time"].dt.epoch("us").to_numpy() // 1_000_000,
        counts["inp"].to_numpy(),
    )
    buckets = _buckets(counts)
    present = [bucket for bucket in BUCKETS if buckets[bucket].max()]  # most batches have few of them
    row_columns = ["rate_id", "denominator", "missing", "request_fee", *(f"rate_{bucket}" for bucket in present)]
    work = pl.concat(
        [
            buckets.select(present),
            rows.rows.select(row_columns)[located],
            quantities(frame, located, rows),
            pl.DataFrame({"model": kinds.model, "absurd": absurd}),
        ],
        how="horizontal",
    )
    priced = _costs(work, present, table.version)
    units = _unpriced_units(priced["lacking"], priced["unknown_quantities"])
    return priced.with_columns(lacking=units).rename({"lacking": "unpriced_units"}).drop("unknown_quantities")


class _Kinds:
    """Distinct kinds of calls, and of each event the number of its kind."""

    def __init__(self, keys: list[RateKey], index: np.ndarray, model: pl.Series) -> None:
        self.keys = keys
        self.index = index
        self.model = model


def _kinds(frame: pl.DataFrame, table: RateTable) -> _Kinds:
    answered = pl.col("response_model").fill_null("")
    names = {
        "provider": pl.col("provider"),
        "model": pl.when(answered != "").then(answered).otherwise(pl.col("request_model")),
        "service_tier": pl.col("service_tier").fill_null(""),
        "is_batch": pl.col("is_batch").fill_null(False),
        "speed": pl.col("speed").fill_null(""),
        "region": pl.col("region").fill_null(""),
    }
    if table.customers:  # the others have no rates of their own: they are one
        names["customer"] = pl.when(pl.col("customer").is_in(table.customers)).then("customer").otherwise(pl.lit(""))
    if table.contracts:
        tags = pl.col("tags").cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
        contract = tags.list.filter(pl.element().struct.field("key") == "contract").list.first()
        named = contract.struct.field("value")
        names["contract"] = pl.when(named.is_in(table.contracts)).then(named).otherwise(pl.lit(""))
    columns = frame.select(**names)
    kinds = columns.with_row_index("event").group_by(list(names)).agg("event")
    index = np.empty(frame.height, dtype=np.int64)
    index[kinds["event"].explode().to_numpy()] = np.repeat(
        np.arange(kinds.height), kinds["event"].list.len().to_numpy()
    )
    keys = [RateKey(**row) for row in kinds.drop("event").iter_rows(named=True)]
    return _Kinds(keys, index, columns["model"])


def _buckets(counts: pl.DataFrame) -> pl.DataFrame:
    """Disjoint buckets: of what is cached, text comes first, then audio, then images (the event does not say).

    What was written to the cache and is audio or an image is billed as that, never as both.
    """
    parts = pl.col("read") + pl.col("write") + pl.col("audio_in") + pl.col("image_in")
    overlap = (parts - pl.col("inp")).clip(0)
    step = (
        counts.lazy()
        .with_columns(
            audio_cached=pl.min_horizontal(overlap, "audio_in", "read"),
            thought=pl.min_horizontal("thought", (pl.col("out") - pl.col("audio_out") - pl.col("image_out")).clip(0)),
        )
        .with_columns(
            image_cached=pl.min_horizontal(
                overlap - pl.col("audio_cached"), "image_in", pl.col("read") - pl.col("audio_cached")
            )
        )
        .with_columns(write=(pl.col("write") - (overlap - pl.col("audio_cached") - pl.col("image_cached"))).clip(0))
        .with_columns(hour=pl.min_horizontal("hour", "write"))
    )
    return step.select(
        input=(pl.col("inp") - parts).clip(0),
        cache_read=pl.col("read") - pl.col("audio_cached") - pl.col("image_cached"),
        cache_write=pl.col("write") - pl.col("hour"),
        cache_write_1h=pl.col("hour"),
        audio_input=pl.col("audio_in") - pl.col("audio_cached"),
        audio_cache_read=pl.col("audio_cached"),
        image_input=pl.col("image_in") - pl.col("image_cached"),
        image_cache_read=pl.col("image_cached"),
        output=(pl.col("out") - pl.col("thought") - pl.col("audio_out") - pl.col("image_out")).clip(0),
        reasoning=pl.col("thought"),
        audio_output=pl.col("audio_out"),
        image_output=pl.col("image_out"),
    ).collect()


def _costs(work: pl.DataFrame, present: list[str], version: str) -> pl.DataFrame:
    """Costs, status and problem of located events, of the buckets that any of them counts."""
    counted: pl.Expr = pl.lit(0, dtype=pl.Int64)
    for bucket in present:
        counted |= (pl.col(bucket) > 0).cast(pl.Int64) * (1 << list(BUCKETS).index(bucket))
    lacks = (pl.col("lacking") != 0) | pl.col("unknown_quantities").is_not_null()
    has_price = ((pl.col("counted") & ~pl.col("missing")) != 0) | pl.col("known_quantity")
    status = (
        pl.when(pl.col("rate_id").is_null() | (lacks & ~has_price))
        .then(pl.lit("unpriced"))
        .when(lacks)
        .then(pl.lit("partial"))
        .otherwise(pl.lit("priced"))
    )
    out_of_bounds = pl.col("absurd") | pl.col("absurd_quantity") | (pl.col("cost_total") > MAX_COST)
    bearing = (pl.col("pricing_status") != "unpriced") & pl.col("problem").is_null()
    costs = _rounded(work.select("denominator", **{name: _exact(name, present) for name in COST_COMPONENTS}))
    return (
        pl.concat([work, costs], how="horizontal")
        .lazy()
        .with_columns(counted=counted)
        .with_columns(lacking=pl.col("counted") & pl.col("missing"), cost_total=pl.sum_horizontal(COST_COMPONENTS))
        .with_columns(pricing_status=status, problem=pl.when(out_of_bounds).then(pl.lit("cost_out_of_bounds")))
        .select(
            "model",
            "pricing_status",
            pl.when(pl.col("pricing_status") != "unpriced").then("rate_id"),
            pl.lit(version).alias("price_version"),
            "lacking",
            "unknown_quantities",
            *(pl.when(bearing).then(pl.col(name)).cast(pl.Int64).alias(name) for name in COSTS),
            "problem",
        )
        .collect()
    )


def _exact(component: str, present: list[str]) -> pl.Expr:
    """The exact cost of a component, before division: numerators in 128 bits."""
    terms = [
        pl.col(bucket).cast(pl.Int128) * pl.col(f"rate_{bucket}")
        for bucket in _COMPONENT_BUCKETS[component]
        if bucket in present
    ]
    if component in EXTRAS:
        terms.append(pl.col(EXTRAS[component]))
    if component == "cost_quantities":
        terms.append(pl.when("counts_requests").then(0).otherwise("request_fee"))
    return sum(terms, start=pl.lit(0, dtype=pl.Int128))


def _rounded(exact: pl.DataFrame) -> pl.DataFrame:
    """Components as numerators over the column `denominator`, rounded half to even; most denominators are 1."""
    fractional = (exact["denominator"] != 1).arg_true()
    numerators = exact.drop("denominator")
    if fractional.is_empty():
        return numerators
    denominator = pl.col("denominator")
    rounded = exact[fractional].select(_half_even(pl.col(name), denominator).alias(name) for name in numerators.columns)
    place = np.arange(exact.height)
    place[fractional.to_numpy()] = exact.height + np.arange(rounded.height)
    return pl.concat([numerators, rounded])[place]


def _half_even(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    quotient = numerator // denominator
    twice = (numerator - quotient * denominator) * 2
    up = (twice > denominator) | ((twice == denominator) & (quotient % 2 == 1))
    return quotient + up.cast(pl.Int128)


def _unpriced_units(lacking: pl.Series, unknown: pl.Series) -> pl.Series:
    """Names of the counts without a price, of the few events that have any."""
    events = ((lacking != 0) | unknown.is_not_null()).arg_true()
    masks = lacking.gather(events)
    names = {mask: _named(mask) for mask in masks.unique().to_list()}
    tokens = masks.replace_strict(list(names), list(names.values()), return_dtype=pl.String)
    both = pl.select(pl.concat_str([tokens, unknown.gather(events)], separator=",", ignore_nulls=True)).to_series()
    place = np.zeros(lacking.len(), dtype=np.int64)  # row 0 stands for events without any
    place[events.to_numpy()] = np.arange(1, events.len() + 1)
    return pl.concat([pl.Series([None], dtype=pl.String), both])[place]


def _named(mask: int) -> str | None:
    return ",".join(column for bit, column in enumerate(BUCKETS.values()) if mask >> bit & 1) or None
