"""A call as the oracle sees it, and sums over calls. Money is whole picodollars until it is shown."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from streams.oracle.price import PARTIAL, UNPRICED

QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US = 60_000_000
UNATTRIBUTED = "(unattributed)"
NARROW = ("user", "workflow", "agent", "api_key_id", "release")  # and tags: what has a rollup of its own


@dataclass(frozen=True, slots=True)
class Call:
    """An accepted event with its price.

    `costs` are picodollars by component in the order of `schemas.priced.COSTS`, None without a price. `quarter` is the
    quarter of an hour in which it ended, `recorded_us` the Kafka timestamp of its record.
    """

    event: Mapping[str, Any]
    status: int
    costs: tuple[int, ...] | None
    partition: int
    offset: int
    recorded_us: int
    at: datetime
    quarter: datetime
    picos: int
    tokens: int
    model: str

    @classmethod
    def of(
        cls,
        event: Mapping[str, Any],
        status: int,
        costs: tuple[int, ...] | None,
        place: tuple[int, int],
        recorded_us: int,
    ) -> "Call":
        return cls(
            event,
            status,
            costs,
            *place,
            recorded_us,
            at=EPOCH + timedelta(microseconds=event["time"]),
            quarter=EPOCH + timedelta(microseconds=event["time"] // (15 * MINUTE_US) * 15 * MINUTE_US),
            picos=costs[-1] if costs else 0,
            tokens=(event["input_tokens"] or 0) + (event["output_tokens"] or 0),
            model=event["response_model"] or event["request_model"],
        )

    def member(self, dimension: str) -> str:
        """Who bears it; '' when nobody does, and of all spend."""
        if dimension == "model":
            return self.model
        if dimension.startswith("tags."):
            return str(self.event["tags"].get(dimension.removeprefix("tags."), ""))
        return "" if dimension == "global" else str(self.event[dimension] or "")

    @property
    def unpriced(self) -> bool:
        return self.status == UNPRICED

    @property
    def partial(self) -> bool:
        return self.status == PARTIAL

    @property
    def failed(self) -> bool:
        return self.event["error_type"] is not None


Calls = list[Call]


def dollars(picos: int) -> Decimal:
    """Exact dollars."""
    return Decimal(picos).scaleb(-12)


def cost(calls: Iterable[Call]) -> Decimal:
    """Their dollars; a call without a price adds nothing."""
    return dollars(sum(call.picos for call in calls))


def known_cost(calls: Calls) -> Decimal | None:
    """Their dollars, None when not one of them has a price: that is not $0."""
    return None if calls and all(call.unpriced for call in calls) else cost(calls)


def tokens(calls: Iterable[Call]) -> int:
    return sum(call.tokens for call in calls)


def unpriced(calls: Iterable[Call]) -> int:
    return sum(call.unpriced for call in calls)


def hit_rate(calls: Iterable[Call]) -> "Near | None":
    """Cache hits of the calls that say whether there was one."""
    said = [call.event["cache_outcome"] for call in calls if call.event["cache_outcome"] in ("hit", "miss")]
    return near(sum(outcome == "hit" for outcome in said), len(said))


def grouped(calls: Iterable[Call], key: Callable[[Call], Any]) -> dict[Any, Calls]:
    """Calls by what the key says of them."""
    groups: dict[Any, Calls] = defaultdict(list)
    for call in calls:
        groups[key(call)].append(call)
    return groups


def dearest(groups: Mapping[Any, Calls]) -> list[Any]:
    """Keys of groups by cost, then calls, then name."""
    return sorted(groups, key=lambda key: (-cost(groups[key]), -len(groups[key]), key))


def named(member: str) -> str:
    """A member as a page shows it."""
    return member or UNATTRIBUTED


@dataclass(frozen=True)
class Near:
    """A quotient: the engine cuts decimals at a place, or has floats of fifteen digits."""

    value: Fraction
    places: int

    def __eq__(self, found: object) -> bool:
        if not isinstance(found, int | float | Decimal):
            return NotImplemented
        off = abs(Fraction(found) - self.value)
        return off <= Fraction(1, 10**self.places) or off <= abs(self.value) / 10**12

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"near {float(self.value)!r}"


def near(part: int | Decimal | Fraction, whole: int | Decimal | Fraction, places: int = 12) -> Near | None:
    """part / whole; None when there is no whole."""
    return Near(Fraction(part) / Fraction(whole), places) if whole else None


def change(now: Decimal | int, before: Decimal | int, places: int = 12) -> Near | None:
    """Per cent from before to now; None from nothing."""
    return near((Fraction(now) - Fraction(before)) * 100, before, places)
