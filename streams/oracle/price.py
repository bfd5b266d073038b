"""The oracle's prices: one event at a time, in fractions; of the pipeline only the rate data is used.

What each token is billed as, in words: cached reads and cache writes are part of the input, so are audio and images;
what remains is text. Where the parts overlap, the cached tokens were text first, then audio, then images. Reasoning,
audio and images are part of the output. A component is the exact sum of its products, rounded once, half to even.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from schemas.priced import COSTS
from streams.spend.price_sheet import QUANTITY_ALIASES
from streams.spend.rates import RateKey, RateTable

MAX_COST = 10**18  # picodollars: a million dollars an event
PRICED, PARTIAL, UNPRICED = 0, 1, 2
STATUS = {"priced": PRICED, "partial": PARTIAL, "unpriced": UNPRICED}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK = 7 * 86_400
_THURSDAY = 3 * 86_400  # 1970 began on one; a week begins on Monday
_INPUT, _CACHE_READ, _CACHE_WRITE, _OUTPUT, _AUDIO, _IMAGE, _QUANTITIES = range(len(COSTS) - 1)
_SPOKEN = frozenset({"audio_second", "input_audio_second", "output_audio_second", "character"})

Costs = tuple[int, ...]


class CostOutOfBounds(Exception):
    """The event would cost more than a million dollars."""


@dataclass(frozen=True)
class _Rates:
    """Picodollars a unit by bucket and quantity, least billed amounts, long-context thresholds."""

    units: Mapping[str, int | Fraction]
    floors: Mapping[str, int]


class OraclePrices:
    """Prices events with a rate table.

    Args:
        table: the rates in force.
    """

    def __init__(self, table: RateTable) -> None:
        self.table = table
        self._uses_customer, self._uses_contract = table.uses_customer, table.uses_contract
        self._edges: dict[tuple[Any, ...], tuple[list[int], list[int]]] = {}
        self._sheets: dict[tuple[Any, ...], tuple[list[int], dict[int, _Rates]] | None] = {}

    def price(self, event: Mapping[str, Any]) -> tuple[int, Costs | None]:
        """Price one event.

        Returns:
            PRICED, PARTIAL or UNPRICED; and the components and the total in the order of `schemas.priced.COSTS`, whole
            picodollars, None when unpriced.

        Raises:
            CostOutOfBounds: it costs more than a million dollars.
        """
        inputs = event["input_tokens"] or 0
        rates = self._rates(event, inputs)
        if rates is None:
            return UNPRICED, None
        units = rates.units
        exact: list[int | Fraction] = [0] * (len(COSTS) - 1)
        found = lacking = False
        for component, bucket, count in _billed(event, inputs):
            unit = units.get(bucket)
            if unit is None:
                lacking = True
            else:
                found = True
                exact[component] += count * unit
        asked = False
        for name, amount in event["quantities"].items():
            if amount:
                quantity = QUANTITY_ALIASES.get(name, name)
                unit = units.get(quantity)
                asked = asked or quantity == "request"
                if unit is None:
                    lacking = True
                else:
                    found = True
                    exact[_component(quantity)] += max(amount, rates.floors.get(quantity, 0)) * unit
        if not asked:
            exact[_QUANTITIES] += units.get("request", 0)
        costs = [round(component) for component in exact]  # of a Fraction: half to even
        total = sum(costs)
        if total > MAX_COST:
            raise CostOutOfBounds
        if lacking and not found:
            return UNPRICED, None
        return (PARTIAL if lacking else PRICED), (*costs, total)

    def _rates(self, event: Mapping[str, Any], inputs: int) -> _Rates | None:
        kind = (
            event["provider"],
            event["response_model"] or event["request_model"],
            event["service_tier"] or "",
            event["is_batch"] or False,
            event["speed"] or "",
            event["region"] or "",
            (event["customer"] or "") if self._uses_customer else None,
            event["tags"].get("contract", "") if self._uses_contract else None,
        )
        edges = self._edges.get(kind)
        if edges is None:
            plan = self.table.plan(RateKey(*kind))
            edges = self._edges[kind] = (
                [segment.start for segment in plan],
                sorted({second for segment in plan for second, _ in segment.slots}),
            )
        seconds = event["time"] // 1_000_000
        stretch = bisect_right(edges[0], seconds)
        hours = bisect_right(edges[1], (seconds + _THURSDAY) % _WEEK) if len(edges[1]) > 1 else 0
        place = (kind, stretch, hours)
        if place not in self._sheets:
            sheet = self.table.resolve(RateKey(*kind), _instant(event)).sheet
            self._sheets[place] = None if sheet is None else (sheet.thresholds(), {})
        known = self._sheets[place]
        if known is None:
            return None
        thresholds, steps = known
        step = sum(inputs > threshold for threshold in thresholds)
        rates = steps.get(step)
        if rates is None:
            key, at = RateKey(*kind), _instant(event)
            sheet = self.table.resolve(key, at).sheet
            assert sheet is not None
            units = self.table.unit_rates(key, at, inputs)
            rates = steps[step] = _Rates({name: _plain(unit) for name, unit in units.items()}, sheet.floors)
        return rates


def _instant(event: Mapping[str, Any]) -> datetime:
    return _EPOCH + timedelta(microseconds=event["time"])


def _plain(rate: Fraction) -> int | Fraction:
    """A whole number as int: the same value, and arithmetic is much faster."""
    return rate.numerator if rate.denominator == 1 else rate


def _component(quantity: str) -> int:
    if quantity in _SPOKEN:
        return _AUDIO
    if quantity == "image" or quantity.startswith(("image_", "pixel")):
        return _IMAGE
    return _QUANTITIES


def _billed(event: Mapping[str, Any], inputs: int) -> list[tuple[int, str, int]]:
    """(component, bucket, tokens) of each bucket that counts any."""
    read = event["cache_read_input_tokens"] or 0
    written = event["cache_creation_input_tokens"] or 0
    hour = event["cache_creation_1h_input_tokens"] or 0
    audio = event["audio_input_tokens"] or 0
    image = event["image_input_tokens"] or 0
    outputs = event["output_tokens"] or 0
    thought = event["reasoning_output_tokens"] or 0
    spoken = event["audio_output_tokens"] or 0
    drawn = event["image_output_tokens"] or 0
    text = inputs - read - written - audio - image
    audio_read = image_read = 0
    if text < 0:
        audio_read = min(-text, audio, read)
        image_read = min(-text - audio_read, image, read - audio_read)
        written = max(0, written - (-text - audio_read - image_read))  # the rest is audio or image, and billed as that
        hour = min(hour, written)
        text = 0
    parts = (
        (_INPUT, "input", text),
        (_CACHE_READ, "cache_read", read - audio_read - image_read),
        (_CACHE_WRITE, "cache_write", written - hour),
        (_CACHE_WRITE, "cache_write_1h", hour),
        (_AUDIO, "audio_input", audio - audio_read),
        (_AUDIO, "audio_cache_read", audio_read),
        (_IMAGE, "image_input", image - image_read),
        (_IMAGE, "image_cache_read", image_read),
        (_OUTPUT, "output", outputs - thought - spoken - drawn),
        (_OUTPUT, "reasoning", thought),
        (_AUDIO, "audio_output", spoken),
        (_IMAGE, "image_output", drawn),
    )
    return [part for part in parts if part[2]]
