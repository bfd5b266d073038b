"""The organisation's own rates: negotiated prices, discounts and mark-ups, flat rates for quantities.

For each bucket and quantity the most specific rate that says something about it wins: one with a customer before one
without, then contract, then the model (a name before a pattern, a longer pattern before a shorter), then region, tier
and provider. Two rates between which that leaves no order are a mistake and are refused when they are loaded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from fractions import Fraction

from pydantic import Field, field_validator, model_validator

from streams.spend.model_names import provider_id
from streams.spend.price_sheet import INPUT_BUCKETS, Sheet, Steps
from streams.spend.rate_entries import Exact, Priced, Tier


class Rate(Priced):
    """One own rate. Unset fields apply to everything; prices without `service_tier` are for the standard tier.

    `discount_percent` and `markup_percent` change the price that would apply without the rate, whatever the tier.
    """

    provider: str | None = None
    model: str | None = Field(None, description="A model name, or a pattern with * and ?")
    customer: str | None = None
    contract: str | None = Field(None, description="Compared with the event's tag `contract`.")
    region: str | None = Field(None, description="A region, or a pattern with * and ?")
    service_tier: Tier | None = None
    discount_percent: Exact | None = None
    markup_percent: Exact | None = None
    note: str = ""

    @field_validator("provider")
    @classmethod
    def _canonical(cls, provider: str | None) -> str | None:
        return provider_id(provider) if provider else None

    @field_validator("model", "region")
    @classmethod
    def _lower(cls, name: str | None) -> str | None:
        return name.strip().lower() if name else None

    @model_validator(mode="after")
    def _prices_or_percent(self) -> "Rate":
        kinds = [bool(self.per_million_tokens or self.per_unit), self.discount_percent is not None]
        if sum([*kinds, self.markup_percent is not None]) != 1:
            raise ValueError(
                "give either prices (per_million_tokens, per_unit) or discount_percent or markup_percent, one of them"
            )
        if self.discount_percent is not None and self.discount_percent > 100:
            raise ValueError("discount_percent must not be above 100")
        return self

    @property
    def factor(self) -> Fraction | None:
        """What a percentage multiplies the price with; None for a rate with prices."""
        if self.discount_percent is not None:
            return 1 - Fraction(self.discount_percent) / 100
        if self.markup_percent is not None:
            return 1 + Fraction(self.markup_percent) / 100
        return None

    @property
    def tier(self) -> str:
        """The tier that the rate is for; `*` for every one."""
        return self.service_tier or ("*" if self.factor is not None else "standard")

    @property
    def specificity(self) -> tuple[int, ...]:
        """Greater is more specific."""
        return (
            self.customer is not None,
            self.contract is not None,
            _pattern_rank(self.model),
            _pattern_rank(self.region),
            self.tier != "*",
            self.provider is not None,
        )

    def matches(
        self, *, provider: str, spellings: Sequence[str], customer: str, contract: str, region: str, tier: str | None
    ) -> bool:
        """Whether the rate is about such a call, at whatever time."""
        return (
            self.provider in (None, provider)
            and (self.model is None or any(fnmatchcase(name, self.model) for name in spellings))
            and self.customer in (None, customer)
            and self.contract in (None, contract)
            and (self.region is None or fnmatchcase(region.lower(), self.region))
            and self.tier in ("*", tier)
        )

    def says(self) -> frozenset[str]:
        """The buckets and quantities that the rate has a price for; a percentage has none and is about all."""
        return frozenset(self.per_million_tokens) | frozenset(self.per_unit)


@dataclass(frozen=True)
class Own:
    """A sheet after own rates: the ids that took part and whether the published price still did."""

    sheet: Sheet
    ids: tuple[str, ...]
    on_published: bool


def apply(rates: Iterable[Rate], at: datetime, published: Sheet | None) -> Own | None:
    """Lay the rates that match a call over its published sheet; None when no rate applies at the instant."""
    ranked = sorted((r for r in rates if r.active(at)), key=lambda rate: rate.specificity, reverse=True)
    if not ranked:
        return None
    base = published or Sheet()
    named = {bucket for rate in ranked for bucket in rate.per_million_tokens}
    kept = {bucket: steps for bucket, steps in base.tokens.items() if not _superseded(bucket, named)}
    tokens: dict[str, Steps] = {}
    quantities: dict[str, Fraction] = {}
    used: set[str] = set()
    on_published = False
    for bucket in dict.fromkeys([*kept, *named]):
        factor, owner, ids = _decide(ranked, bucket)
        steps = owner.tokens[bucket] if owner else kept[bucket]
        tokens[bucket] = steps.times(factor)
        used |= ids
        on_published |= owner is None
    for name in dict.fromkeys([*base.quantities, *(name for rate in ranked for name in rate.per_unit)]):
        factor, owner, ids = _decide(ranked, name)
        quantities[name] = (owner.quantities[name] if owner else base.quantities[name]) * factor
        used |= ids
        on_published |= owner is None
    if not used:
        return None
    return Own(Sheet(tokens, quantities, base.floors), tuple(r.id for r in ranked if r.id in used), on_published)


def _decide(ranked: Sequence[Rate], name: str) -> tuple[Fraction, Rate | None, set[str]]:
    """How a bucket or quantity is priced: the most specific percentage as a factor, the rate whose price it changes.

    A percentage changes the next less specific price; without one (None) it changes the published price.
    """
    factor = Fraction(1)
    ids: set[str] = set()
    for rate in ranked:
        if rate.factor is None and name in rate.says():
            return factor, rate, ids | {rate.id}
        if rate.factor is not None and not ids:
            factor, ids = rate.factor, {rate.id}
    return factor, None, ids


def _superseded(bucket: str, named: set[str]) -> bool:
    """An own price of input (or output) stands for its whole side: published prices of that side's parts fall away."""
    side = "input" if bucket in INPUT_BUCKETS else "output"
    return side in named


def _pattern_rank(pattern: str | None) -> int:
    """0 for none, more for a longer pattern, most for a plain name."""
    if pattern is None:
        return 0
    literal = sum(character not in "*?" for character in pattern)
    return 1 + literal if "*" in pattern or "?" in pattern else 10**6
