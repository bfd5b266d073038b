"""Why a call costs what it costs: the rate, the steps that led to it, and exact prices a unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from streams.spend.price_sheet import BUCKETS, PICOS
from streams.spend.rates import RateKey, RateTable


@dataclass(frozen=True)
class Explanation:
    """`rates`: bucket or quantity -> exact picodollars a unit; `unpriced`: buckets of tokens without a price."""

    at: datetime
    version: str
    rate_id: str | None
    steps: tuple[str, ...]
    rates: Mapping[str, Fraction]
    unpriced: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines; prices are strings in US dollars a unit, exact (a fraction where no decimal is)."""
        return {
            "at": self.at.isoformat(),
            "price_version": self.version,
            "rate_id": self.rate_id,
            "steps": list(self.steps),
            "dollars_per_unit": {unit: dollars(price) for unit, price in self.rates.items()},
            "unpriced": list(self.unpriced),
        }


def explain(table: RateTable, key: RateKey, at: datetime, input_tokens: int = 0) -> Explanation:
    """Which rate prices such a call at an instant, in a request of `input_tokens`, and why."""
    at = at.astimezone(UTC)
    resolved = table.resolve(key, at)
    rates = table.unit_rates(key, at, input_tokens)
    missing = tuple(bucket for bucket in BUCKETS if bucket not in rates) if rates else ()
    return Explanation(at, table.version, resolved.rate_id, resolved.steps, rates, missing)


def dollars(picos: Fraction) -> str:
    """Picodollars as an exact decimal number of US dollars, or as a fraction where no decimal is exact."""
    amount = picos / PICOS
    places = 0
    while places < 40 and (amount * 10**places).denominator != 1:
        places += 1
    if (amount * 10**places).denominator != 1:
        return f"{amount.numerator}/{amount.denominator}"
    digits = str((amount * 10**places).numerator).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits
