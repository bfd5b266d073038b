"""What a budget is: a limit on what a member of a dimension may spend in a period. Pure."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_serializer, field_validator
from pydantic_core.core_schema import ValidationInfo

from streams.spend.dimensions import DIMENSIONS, GLOBAL, OTHER, TAG, is_other
from streams.spend.money import PICOS, usd
from streams.spend.rate_entries import Instant

EACH = "*"
"""The member of a budget that every member of its dimension has on its own."""

FULL = 100
"""The level at which the limit is spent, percent."""

MOST_USD = 10**12

PeriodKind = Literal["day", "week", "month", "quarter", "year"]


def _limit(value: Any) -> Decimal:
    if isinstance(value, bool | float):
        raise ValueError(f"write the amount {value!r} in quotes: a limit is exact, a float is not")
    try:
        amount = Decimal(text if re.fullmatch(r"[-+.0-9eE]+", text := str(value).strip()) else "")
    except InvalidOperation as exc:
        raise ValueError(f"{value!r} is not an amount in US dollars such as 100.00") from exc
    if not amount.is_finite() or not 0 < amount <= MOST_USD:
        raise ValueError(f"{value!r} is not above 0 and at most {MOST_USD} US dollars")
    if amount != round(amount, 12):
        raise ValueError(f"{value!r} has more than 12 decimals")
    return amount


def _thresholds(value: Any) -> tuple[int, ...]:
    levels = list(value) if isinstance(value, list | tuple) else [value]
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= FULL:
            raise ValueError(f"{level!r} is not a whole number of percent from 1 to {FULL}")
    if levels != sorted(set(levels)):
        raise ValueError(f"{levels} must ascend, each once")
    return tuple(levels)


class Terms(BaseModel):
    """What a person says of a budget. Unset: the period is a month, the warning comes at 80 %."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="For people; no two budgets have the same.")
    scope: str = Field(
        description="The dimension whose spend is limited.", json_schema_extra={"enum": list(DIMENSIONS)}
    )
    member: str = Field(
        "",
        max_length=500,
        validate_default=True,
        description="Whose spend: a member of the scope (a tag as key=value), * for each member on its own, "
        "empty for global.",
    )
    period: PeriodKind = Field("month", description="In SPEND_TIMEZONE; weeks begin on Monday.")
    limit_usd: Annotated[Decimal, BeforeValidator(_limit, json_schema_input_type=str)] = Field(
        description="US dollars a period, as a string: above 0, at most 12 decimals."
    )
    thresholds: Annotated[tuple[int, ...], BeforeValidator(_thresholds, json_schema_input_type=list[int])] = Field(
        (80,), description="Percent of the limit at which to warn, 1 to 100, ascending. 100 is always a level too."
    )

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        name = name.strip()
        _printable(name)
        if not slug(name):
            raise ValueError(f"{name!r} needs a letter a to z or a digit: the id is made of them")
        return name

    @field_validator("scope")
    @classmethod
    def _known_scope(cls, scope: str) -> str:
        if scope not in DIMENSIONS:
            raise ValueError(f"{scope!r} is not a scope; the scopes are {', '.join(DIMENSIONS)}")
        return scope

    @field_validator("period", mode="before")
    @classmethod
    def _known_period(cls, period: Any) -> Any:
        if period not in (kinds := get_args(PeriodKind)):
            raise ValueError(f"{period!r} is not a period; the periods are {', '.join(kinds)}")
        return period

    @field_validator("member")
    @classmethod
    def _fits_the_scope(cls, member: str, info: ValidationInfo) -> str:
        scope = info.data.get("scope")
        _printable(member)
        if scope == GLOBAL and member:
            raise ValueError(f"the scope global has no members; leave {member!r} out")
        if scope not in (None, GLOBAL) and not member:
            raise ValueError(f"say which {scope} the budget is for, or {EACH} for each {scope} on its own")
        if scope == TAG and member != EACH and not re.match(r"[^=]+=", member):
            raise ValueError(f"{member!r} is not a tag such as env=prod, nor {EACH} for each tag on its own")
        if is_other(member):
            raise ValueError(f"{OTHER} is what lies beyond a dimension's cap, no {scope} of its own")
        return member

    @field_serializer("limit_usd")
    def _exact(self, _: Decimal) -> str:
        return usd(self.limit_picos)

    @property
    def limit_picos(self) -> int:
        """The limit in picodollars."""
        return int(self.limit_usd * PICOS)

    @property
    def levels(self) -> tuple[int, ...]:
        """All levels, percent, ascending: the thresholds and 100."""
        return tuple(sorted({*self.thresholds, FULL}))

    def limits(self, member: str) -> bool:
        """Whether a member of the budget's scope is limited by it.

        `*` is every member that has a name: neither the calls that bear none nor those beyond the dimension's cap.
        """
        return bool(member) and not is_other(member) if self.member == EACH else member == self.member


class Budget(Terms):
    """A budget as `spend.budgets` holds it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100, description="Made of the name; stays.")
    created_at: Instant = Field(description="RFC 3339, UTC. Periods that had ended by then are not judged.")

    @field_serializer("created_at")
    def _utc(self, instant: datetime) -> str:
        return instant.strftime("%Y-%m-%dT%H:%M:%SZ")

    def status_key(self, member: str) -> str:
        """The key of the member's status on `spend.budget-status`."""
        return f"{self.id}/{member}" if self.member == EACH else self.id


ByMember = dict[tuple[str, str], tuple[Budget, ...]]


def by_member(budgets: Iterable[Budget]) -> ByMember:
    """The budgets of each (scope, member), `*` among the members."""
    found: dict[tuple[str, str], list[Budget]] = {}
    for budget in budgets:
        found.setdefault((budget.scope, budget.member), []).append(budget)
    return {key: tuple(same) for key, same in found.items()}


def budgets_of(index: ByMember, scope: str, member: str) -> tuple[Budget, ...]:
    """The budgets that limit one member: its own and those of each member."""
    own = index.get((scope, member), ())
    return own + tuple(budget for budget in index.get((scope, EACH), ()) if budget.limits(member))


def slug(name: str) -> str:
    """The id of a name: its letters a to z and digits, with a hyphen for what lies between; '' when it has none."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _printable(text: str) -> None:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError(f"{text!r} has control characters")
