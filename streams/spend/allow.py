"""May this call be made? What a gateway asks before each call. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from streams.spend.budget import Budget, ByMember, PeriodKind, budgets_of
from streams.spend.budget_status import BudgetStatus, State, Utc, present
from streams.spend.dimensions import GLOBAL
from streams.spend.money import percent, usd


class Reached(BaseModel):
    """A budget of the call that has reached a level."""

    model_config = ConfigDict(frozen=True)

    budget_id: str
    name: str
    scope: str
    member: str
    period: PeriodKind
    state: State
    spent_usd: str
    limit_usd: str
    percent: str
    resets_at: Utc


class Verdict(BaseModel):
    """The answer to a gateway: `allowed` unless a budget of the call is exceeded."""

    model_config = ConfigDict(frozen=True)

    allowed: bool
    stopped_by: tuple[Reached, ...] = Field(description="Exceeded budgets of the call.")
    warnings: tuple[Reached, ...] = Field(description="Budgets of the call over a threshold.")
    resets_at: Utc | None = Field(description="When all that stop it will have begun anew; null if allowed.")
    as_of: Utc | None = Field(description="Event time of the oldest status that was looked at.")


Call = Mapping[str, str | Sequence[str]]
"""Dimension to member, as the event of the call will bear them; `tag` is a list of key=value."""


def allow(status_of: Callable[[str], BudgetStatus | None], budgets: ByMember, call: Call, now: datetime) -> Verdict:
    """Whether a call may be made: only exceeded budgets that limit one of its members stop it, `global` always.

    Args:
        status_of: the status under a key of `spend.budget-status`, e.g. `dict.get`.
        budgets: from `by_member`; a status without its budget counts for nothing.
        call: dimensions that are not given match no budget.
        now: the reader's clock; it decides when a period is over.
    """
    stopped: list[Reached] = []
    warned: list[Reached] = []
    oldest: datetime | None = None
    for scope, member in _members(call):
        for budget in budgets_of(budgets, scope, member):
            status = status_of(budget.status_key(member))
            state, spent = present(status, budget, now)
            if status is None:
                continue
            oldest = status.as_of if oldest is None else min(oldest, status.as_of)
            if state != "ok":
                (stopped if state == "exceeded" else warned).append(_reached(budget, status, state, spent, member))
    return Verdict(
        allowed=not stopped,
        stopped_by=tuple(stopped),
        warnings=tuple(warned),
        resets_at=max((budget.resets_at for budget in stopped), default=None),
        as_of=oldest,
    )


def _members(call: Call) -> list[tuple[str, str]]:
    found = [(GLOBAL, "")]
    for scope, value in call.items():
        members = [value] if isinstance(value, str) else dict.fromkeys(value)
        found += [(scope, member) for member in members if scope != GLOBAL]
    return found


def _reached(budget: Budget, status: BudgetStatus, state: State, spent: int, member: str) -> Reached:
    return Reached(
        budget_id=budget.id,
        name=budget.name,
        scope=budget.scope,
        member=member,
        period=budget.period,
        state=state,
        spent_usd=usd(spent),
        limit_usd=usd(budget.limit_picos),
        percent=percent(spent, budget.limit_picos),
        resets_at=status.resets_at,
    )
