"""The default price data, genai-prices, as price sheets: standard prices at an instant, and those of the tiers.

The data knows a tier (batch, flex, priority, fast mode) only from the day on which it was checked. Before that day its
ratio to the standard price stands, because the tier that an event names did exist when it served the call.
"""

from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction

from genai_prices import types

from streams.spend.price_sheet import PICOS, Sheet, Steps
from streams.spend.rate_entries import Window

_TOKEN_KEYS = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "audio_cache_read",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "image_cache_read",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}
_QUANTITY_KEYS = {  # price key -> (quantity of the event, units that the price is for)
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
    "requests_kcount": ("request", 1000),
    "input_text_messages_kcount": ("text_message", 1000),
    "input_document_kpages": ("page", 1000),
    "input_annotated_document_kpages": ("annotated_page", 1000),
    "input_mchars": ("character", 10**6),
    "audio_hours": ("audio_second", 3600),
    "input_audio_hours": ("input_audio_second", 3600),
}


def standard(model: types.ModelInfo, at: datetime) -> Sheet:
    """The standard price of a model at an instant."""
    return _sheet(model.get_prices(at))


def tiered(model: types.ModelInfo, at: datetime, tier: str, sheet: Sheet) -> tuple[Sheet, str] | None:
    """`sheet` (the standard price at the instant) with a tier's prices laid over it, and in words how; None without."""
    matching = [variant for variant in model.price_variants or [] if _tier(variant) == tier]
    if not matching:
        return None
    live = [variant for variant in matching if variant.constraint is None or variant.constraint.active(at)]
    if live:
        merged = Sheet()
        for variant in reversed(live):  # the first match wins, bucket by bucket
            prices = _sheet(variant.prices)
            merged = merged.amended(prices.tokens, prices.quantities)
        return sheet.amended(merged.tokens, merged.quantities), "as published"
    first = min(matching, key=_start)
    words = f"checked on {_start(first):%Y-%m-%d}; before, its ratio to the standard price stands"
    return _in_proportion(sheet, _sheet(first.prices), standard(model, _start(first))), words


def changes(model: types.ModelInfo) -> list[datetime]:
    """The instants at which a price of the model changes: midnights, UTC."""
    prices = model.prices if isinstance(model.prices, list) else []
    constraints = [price.constraint for price in prices] + [v.constraint for v in model.price_variants or []]
    return [
        datetime.combine(constraint.start_date, time(), UTC)
        for constraint in constraints
        if isinstance(constraint, types.StartDateConstraint)
    ]


def windows(model: types.ModelInfo) -> list[Window]:
    """Windows whose starts are the hours of the day at which a price of the model changes."""
    prices = model.prices if isinstance(model.prices, list) else []
    return [
        Window(start=edge.replace(tzinfo=None), end=time(0))
        for price in prices
        if isinstance(price.constraint, types.TimeOfDateConstraint)
        for edge in (price.constraint.start_time, price.constraint.end_time)
    ]


def _in_proportion(sheet: Sheet, variant: Sheet, reference: Sheet) -> Sheet:
    """`sheet` with the variant's prices, each changed as the standard price is from `reference` to `sheet`."""
    tokens: dict[str, Steps] = {}
    for bucket, steps in variant.tokens.items():
        now, then = sheet.tokens.get(bucket), reference.tokens.get(bucket)
        if now is None or then is None:
            continue  # a bucket without a price of its own at that time follows its parent
        tokens[bucket] = steps if now == then or not then.base else now.times(steps.base / then.base)
    quantities = {
        name: price * sheet.quantities[name] / reference.quantities[name]
        for name, price in variant.quantities.items()
        if name in sheet.quantities and reference.quantities.get(name)
    }
    return sheet.amended(tokens, quantities)


def _tier(variant: types.PriceVariant) -> str | None:
    when = variant.when
    return when.get("processing") or when.get("service_tier") or when.get("speed") if len(when) == 1 else None


def _start(variant: types.PriceVariant) -> datetime:
    constraint = variant.constraint
    if isinstance(constraint, types.StartDateConstraint):
        return datetime.combine(constraint.start_date, time(), UTC)
    return datetime.min.replace(tzinfo=UTC)


def _sheet(prices: types.ModelPrice) -> Sheet:
    """A price of the default data as a sheet; video and citation tokens are in no event and are left out."""
    tokens: dict[str, Steps] = {}
    quantities: dict[str, Fraction] = {}
    for key, value in vars(prices).items():
        if value is None:
            continue
        if key in _TOKEN_KEYS:
            tokens[_TOKEN_KEYS[key]] = _steps(value, 10**6)
        elif key in _QUANTITY_KEYS:
            name, units = _QUANTITY_KEYS[key]
            quantities[name] = _steps(value, units).base
    return Sheet(tokens, quantities)


def _steps(value: Decimal | types.TieredPrices, units: int) -> Steps:
    picos = Fraction(PICOS, units)
    if isinstance(value, types.TieredPrices):
        return Steps(
            Fraction(value.base) * picos, tuple((tier.start, Fraction(tier.price) * picos) for tier in value.tiers)
        )
    return Steps(Fraction(value) * picos)
