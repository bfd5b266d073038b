"""Own rates that cannot stand together: ties, and digits beyond exact arithmetic. Refused when they are loaded."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from streams.errors import SpendError
from streams.spend.own_rates import Rate
from streams.spend.price_sheet import MAX_NUMERATOR, PICOS

_PUBLISHED_DENOMINATOR = 9_000  # prices an hour over seconds, multiples such as 1.1 and 1.8


def refuse_ties(rates: Sequence[Rate]) -> None:
    """Refuse two rates of which neither is the more specific, where both could price the same call.

    Raises:
        SpendError: names both ids.
    """
    for index, one in enumerate(rates):
        for other in rates[index + 1 :]:
            if one.id == other.id:
                raise SpendError(f"own rates: the id {one.id!r} is given twice; give each rate its own id")
            if _tie(one, other):
                raise SpendError(
                    f"own rates: {one.id!r} and {other.id!r} are equally specific and overlap; "
                    "narrow one (customer, contract, model, region, service_tier) or end it with effective_to"
                )


def refuse_unwieldy(rates: Sequence[Rate]) -> None:
    """Refuse rates whose digits, put over one denominator with any other price, leave the range of exact arithmetic.

    Raises:
        SpendError: names the rate.
    """
    denominators = {rate.id: _denominator(rate) for rate in rates}
    common = math.lcm(_PUBLISHED_DENOMINATOR, *denominators.values())
    for rate in rates:
        prices = [steps.at(2**62) for steps in rate.tokens.values()] + list(rate.quantities.values())
        if max([*prices, Fraction(PICOS)]) * common * (rate.factor or 1) > MAX_NUMERATOR:
            finest = max(rates, key=lambda r: (denominators[r.id], r.id == rate.id))
            raise SpendError(
                f"own rates: {finest.id!r} has more digits than exact arithmetic allows beside the other rates: "
                "round its prices or its percentage, or give a smaller price for a smaller unit"
            )


def _denominator(rate: Rate) -> int:
    prices = [step for steps in rate.tokens.values() for step in (steps.base, *(above for _, above in steps.over))]
    return math.lcm(*(price.denominator for price in [*prices, *rate.quantities.values(), rate.factor or Fraction(1)]))


def _tie(one: Rate, other: Rate) -> bool:
    says, also = one.says(), other.says()
    return (
        one.specificity == other.specificity
        and all(getattr(one, name) == getattr(other, name) for name in ("provider", "customer", "contract", "tier"))
        and _globs_meet(one.model or "*", other.model or "*")
        and _globs_meet(one.region or "*", other.region or "*")
        and (one.effective_from is None or other.effective_to is None or one.effective_from < other.effective_to)
        and (other.effective_from is None or one.effective_to is None or other.effective_from < one.effective_to)
        and _windows_meet(one, other)
        and (one.factor is not None or other.factor is not None or bool(says & also))
    )


def _windows_meet(one: Rate, other: Rate) -> bool:
    if not one.windows or not other.windows:
        return True
    return any(
        a < d and c < b
        for mine in one.windows
        for theirs in other.windows
        for a, b in mine.seconds()
        for c, d in theirs.seconds()
    )


@lru_cache(maxsize=10_000)
def _globs_meet(one: str, other: str) -> bool:
    """Whether some text fits both patterns (with * and ?)."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _globs_meet(one[1:], other) or _globs_meet(one, other[1:])
    if other[0] == "*":
        return _globs_meet(one, other[1:]) or _globs_meet(one[1:], other)
    return (one[0] == other[0] or "?" in (one[0], other[0])) and _globs_meet(one[1:], other[1:])
