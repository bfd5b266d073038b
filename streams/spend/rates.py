"""The rate table: what a unit of each bucket costs a call, compiled once per kind of call and joined to the events.

A kind of call is a `RateKey`: everything but the time that decides the price. Its plan is the list of instants (and
hours of the week) at which its price changes, each with a rate row; `streams.spend.price` finds the row of each event
by search.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib.metadata import version
from typing import TypeVar, cast

from streams.spend import own_rates, rate_ties
from streams.spend.model_names import model_references, provider_id
from streams.spend.own_rates import Rate
from streams.spend.price_sheet import Sheet
from streams.spend.published import Published, load_corrections, published
from streams.spend.service_tiers import served_tier

__all__ = ["Rate", "RateKey", "RateTable", "Resolved", "default_table"]

Form = TypeVar("Form")
WEEK = 7 * 86400
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)  # second 0 of the week
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, order=True)
class RateKey:
    """What decides a call's price beside its time and its counts; None and "" mean the same."""

    provider: str
    model: str
    service_tier: str | None = None
    is_batch: bool | None = None
    speed: str | None = None
    region: str | None = None
    customer: str | None = None
    contract: str | None = None


@dataclass(frozen=True)
class Resolved:
    """The price of a kind of call at an instant; `sheet` None when it has none. `steps` say how it came about."""

    rate_id: str | None
    sheet: Sheet | None
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """From `start` (seconds since 1970) on: prices by second of the week (Monday 00:00 UTC is 0), ascending from 0."""

    start: int
    slots: tuple[tuple[int, Resolved], ...]


class RateTable:
    """Published prices and own rates; resolves kinds of calls and remembers the plans of the last `capacity`."""

    def __init__(self, prices: Published, own: Sequence[Rate], base_version: str, capacity: int = 50_000) -> None:
        rate_ties.refuse_ties(own)
        rate_ties.refuse_unwieldy(own)
        self._published = prices
        self._own = tuple(sorted(own, key=lambda rate: rate.id))
        self._capacity = capacity
        self._plans: OrderedDict[RateKey, tuple[Segment, ...]] = OrderedDict()
        self._forms: dict[object, object] = {}
        self.version = base_version
        if self._own:
            text = "\n".join(rate.model_dump_json() for rate in self._own)
            self.version += f" + own {hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def compiled(self, form: Callable[["RateTable"], Form]) -> Form:
        """The table in another form, made once and kept with it."""
        if form not in self._forms:
            self._forms[form] = form(self)
        return cast(Form, self._forms[form])

    @property
    def own(self) -> tuple[Rate, ...]:
        """The own rates, by id."""
        return self._own

    @property
    def customers(self) -> list[str]:
        """The customers that own rates name."""
        return sorted({rate.customer for rate in self._own if rate.customer is not None})

    @property
    def contracts(self) -> list[str]:
        """The contracts (values of the tag `contract`) that own rates name."""
        return sorted({rate.contract for rate in self._own if rate.contract is not None})

    @property
    def uses_customer(self) -> bool:
        """Whether any own rate depends on the customer."""
        return bool(self.customers)

    @property
    def uses_contract(self) -> bool:
        """Whether any own rate depends on the tag `contract`."""
        return bool(self.contracts)

    def resolve(self, key: RateKey, at: datetime) -> Resolved:
        """The price of a kind of call at an instant (UTC), with the steps that led to it."""
        return _Question(self._published, self._own, key).answer(at)

    def unit_rates(self, key: RateKey, at: datetime, input_tokens: int = 0) -> Mapping[str, Fraction]:
        """Exact picodollars a unit: bucket -> price of a token in a request of `input_tokens`, quantity -> price.

        Buckets (`price_sheet.BUCKETS`) and quantities without a price are absent; empty when the call is unpriced.
        """
        sheet = self.resolve(key, at).sheet
        return {**sheet.leaves(input_tokens), **sheet.quantities} if sheet is not None else {}

    def plan(self, key: RateKey) -> tuple[Segment, ...]:
        """All prices of a kind of call over time, the first from 1970 on."""
        found = self._plans.get(key)
        if found is not None:
            self._plans.move_to_end(key)
            return found
        plan = _Question(self._published, self._own, key).plan()
        self._plans[key] = plan
        if len(self._plans) > self._capacity:
            self._plans.popitem(last=False)
        return plan


def default_table(own: Sequence[Rate] = ()) -> RateTable:
    """The table of the default prices, their reviewed corrections and these own rates.

    Raises:
        SpendError: two own rates are equally specific and overlap, both are named; or one has too many digits.
    """
    corrections = load_corrections()
    checked = max(correction.checked for correction in corrections)
    return RateTable(published(corrections), own, f"genai-prices {version('genai-prices')} + spendstream {checked}")


class _Question:
    """One kind of call, everything about it looked up once: answers for any instant."""

    def __init__(self, prices: Published, own: Sequence[Rate], key: RateKey) -> None:
        provider = provider_id(key.provider)
        self.prices = prices
        self.region = key.region or None
        self.tier, self.served = served_tier(provider, key.service_tier, key.is_batch, key.speed)
        self.subject = prices.subject(provider, key.model)
        spellings = [*model_references(provider, key.model), self.subject.name]
        self.own = [
            rate
            for rate in own
            if rate.matches(
                provider=provider,
                spellings=spellings,
                customer=key.customer or "",
                contract=key.contract or "",
                region=key.region or "",
                tier=self.tier,
            )
        ]

    def answer(self, at: datetime) -> Resolved:
        at = at.astimezone(UTC)
        steps: tuple[str, ...] = (self.served,)
        rate_id, sheet = "", None
        if self.tier is not None:
            quote = self.prices.quote(self.subject, at, self.tier, self.region)
            rate_id, sheet = quote.rate_id, quote.sheet
            steps = (*steps, *quote.steps)
        mine = own_rates.apply(self.own, at, sheet)
        if mine is not None and mine.ids:
            steps = (
                *steps,
                f"own rates {', '.join(mine.ids)}" + (" on the published price" if mine.on_published else ""),
            )
            rate_id = "+".join(mine.ids) + (f" on {rate_id}" if mine.on_published else "")
            sheet = mine.sheet
        return Resolved(rate_id if sheet is not None else None, sheet, steps)

    def plan(self) -> tuple[Segment, ...]:
        instants = [*self.subject.changes()]
        for rate in self.own:
            instants += [instant for instant in (rate.effective_from, rate.effective_to) if instant is not None]
        starts = sorted({0, *(max(0, int((instant - _EPOCH).total_seconds())) for instant in instants)})
        ends = [*starts[1:], None]
        return tuple(Segment(start, self._slots(start, end)) for start, end in zip(starts, ends, strict=True))

    def _slots(self, start: int, end: int | None) -> tuple[tuple[int, Resolved], ...]:
        first = _EPOCH + timedelta(seconds=start)
        windows = self.subject.windows(first) + [w for rate in self.own if rate.in_force(first) for w in rate.windows]
        marks = sorted({0, *(edge % WEEK for window in windows for stretch in window.seconds() for edge in stretch)})
        slots: list[tuple[int, Resolved]] = []
        for mark, following in zip(marks, [*marks[1:], WEEK], strict=True):
            second = second_of_week(start)
            moment = start if mark <= second < following else start + (mark - second) % WEEK
            if end is not None and moment >= end:
                continue  # the stretch is too short to reach this part of the week
            answer = replace(self.answer(_EPOCH + timedelta(seconds=moment)), steps=())
            if not slots or slots[-1][1] != answer:
                slots.append((mark, answer))
        slots[0] = (0, slots[0][1])
        return tuple(slots)


def second_of_week(epoch_seconds: int) -> int:
    """Seconds since Monday 00:00 UTC."""
    return (epoch_seconds - int((_MONDAY - _EPOCH).total_seconds())) % WEEK
