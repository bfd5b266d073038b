"""The entries of rate files: reviewed corrections of the default prices, and the organisation's own rates.

Prices are decimal strings in US dollars: `per_million_tokens` for buckets of tokens, `per_unit` for quantities.
"""

from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from streams.spend.price_sheet import BUCKETS, PICOS, Steps

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
Tier = Literal["standard", "batch", "flex", "priority", "fast", "*"]


def _exact(value: Any) -> Decimal:
    """A decimal from a string or an integer; a float has lost its digits already and is refused."""
    if isinstance(value, bool | float):
        raise ValueError(f"write the number {value!r} in quotes: a price is exact, a float is not")
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation as exc:
        raise ValueError(f"{value!r} is not a decimal number") from exc
    if not number.is_finite() or number < 0 or number > 10**9 or -int(number.as_tuple().exponent) > 12:
        raise ValueError(f"{value!r} must lie between 0 and 1000000000 with at most 12 decimals")
    return number


def _instant(value: Any) -> Any:
    """An instant in UTC; a date means its midnight in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00") if "T" in value else value)
    if not isinstance(value, datetime):
        return value
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if value.microsecond:
        raise ValueError("an instant is given to the second")
    return value


Exact = Annotated[Decimal, BeforeValidator(_exact)]
Instant = Annotated[datetime, BeforeValidator(_instant)]


class Stepped(BaseModel):
    """A price with long-context steps: `over` prices requests above, `from` requests at or above, a token count."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    base: Exact
    over: dict[int, Exact] = Field(default_factory=dict)
    at_or_above: dict[int, Exact] = Field(default_factory=dict, alias="from")

    def steps(self, units: int) -> Steps:
        """The steps in picodollars a unit, for a price of `units` units."""
        picos = Fraction(PICOS, units)
        raw = {**self.over, **{count - 1: price for count, price in self.at_or_above.items()}}
        return Steps(
            Fraction(self.base) * picos, tuple((count, Fraction(price) * picos) for count, price in sorted(raw.items()))
        )


def _stepped(value: Any) -> Any:
    return value if isinstance(value, dict | Stepped) else {"base": value}


Price = Annotated[Stepped, BeforeValidator(_stepped)]


class Window(BaseModel):
    """Hours of the week, UTC, in which an entry applies: from `start` to before `end` on each of `days`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: tuple[Day, ...] = DAYS
    start: time
    end: time

    @model_validator(mode="after")
    def _forwards(self) -> "Window":
        if self.start >= self.end and self.end != time(0):
            raise ValueError("a window ends after its start on the same day; write two windows across midnight")
        return self

    def seconds(self) -> list[tuple[int, int]]:
        """Half-open stretches in seconds since Monday 00:00 UTC."""
        start, end = (moment.hour * 3600 + moment.minute * 60 + moment.second for moment in (self.start, self.end))
        return [(DAYS.index(day) * 86400 + start, DAYS.index(day) * 86400 + (end or 86400)) for day in self.days]


class Priced(BaseModel):
    """What every entry has: an id, the time it applies and prices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@ -]*$", max_length=200)
    effective_from: Instant | None = None
    effective_to: Instant | None = None
    windows: tuple[Window, ...] = ()
    per_million_tokens: dict[str, Price] = Field(default_factory=dict)
    per_unit: dict[str, Price] = Field(default_factory=dict)

    @field_validator("per_million_tokens")
    @classmethod
    def _known_buckets(cls, prices: dict[str, Price]) -> dict[str, Price]:
        for bucket in prices:
            if bucket not in BUCKETS:
                raise ValueError(f"{bucket!r} is not a bucket of tokens; the buckets are {', '.join(BUCKETS)}")
        return prices

    @model_validator(mode="after")
    def _time_runs_forwards(self) -> "Priced":
        if self.effective_from and self.effective_to and self.effective_from >= self.effective_to:
            raise ValueError("effective_to must be later than effective_from")
        return self

    @property
    def prices(self) -> bool:
        """Whether the entry gives prices of its own."""
        return bool(self.per_million_tokens or self.per_unit)

    def in_force(self, at: datetime) -> bool:
        """Whether the instant lies between the entry's first and last, whatever the hour."""
        return not (
            (self.effective_from and at < self.effective_from) or (self.effective_to and at >= self.effective_to)
        )

    def active(self, at: datetime) -> bool:
        """Whether the entry applies at the instant."""
        if not self.in_force(at):
            return False
        if not self.windows:
            return True
        moment = at.weekday() * 86400 + at.hour * 3600 + at.minute * 60 + at.second
        return any(start <= moment < end for window in self.windows for start, end in window.seconds())

    @cached_property
    def tokens(self) -> dict[str, Steps]:
        """Bucket -> picodollars a token."""
        return {bucket: price.steps(10**6) for bucket, price in self.per_million_tokens.items()}

    @cached_property
    def quantities(self) -> dict[str, Fraction]:
        """Quantity -> picodollars a unit."""
        return {name: price.steps(1).base for name, price in self.per_unit.items()}


class Correction(Priced):
    """A reviewed correction of the default prices: what the provider published, where, and when that was checked.

    `models` are ids of the default data's models, `names` references as events write them (also of models that the data
    lacks); both may hold `*`. `replace` starts from an empty sheet, otherwise the prices are laid over the default's;
    `replace` without prices sets the default's aside.
    `same_as` bills a bucket as another one; `multiply` scales `buckets` (all of them unless named).
    """

    provider: str
    models: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tier: Tier = "standard"
    regions: tuple[str, ...] = ()
    replace: bool = False
    same_as: dict[str, str] = Field(default_factory=dict)
    multiply: Exact | None = None
    buckets: tuple[str, ...] = tuple(BUCKETS)
    floors: dict[str, int] = Field(default_factory=dict)
    why: str
    source: tuple[str, ...] = Field(min_length=1)
    checked: date

    @model_validator(mode="after")
    def _says_which_models(self) -> "Correction":
        if not self.models and not self.names:
            raise ValueError("say which models or names it is about")
        return self
