"""The status of a budget as `spend.budget-status` holds it. Pure."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from streams.spend.alert_document import rfc3339
from streams.spend.budget import FULL, Budget, PeriodKind
from streams.spend.budget_levels import Standing
from streams.spend.budget_period import period_at
from streams.spend.forecast import Forecast, seconds_to_breach
from streams.spend.money import PICOS, percent, usd

State = Literal["ok", "warning", "exceeded"]


Utc = Annotated[
    AwareDatetime, PlainSerializer(lambda instant: rfc3339(instant.replace(microsecond=0)), return_type=str)
]
"""An instant that is written as RFC 3339 in UTC, to the second."""


class BudgetStatus(BaseModel):
    """How a budget stands. Amounts are US dollars as strings, instants RFC 3339 in UTC.

    Who reads one whose `resets_at` is past takes it as ok, with nothing spent.
    """

    model_config = ConfigDict(frozen=True)

    budget_id: str
    name: str
    scope: str
    member: str = Field(description="Of a budget for each member (*): the one that this status is about.")
    period: PeriodKind
    period_start: Utc
    resets_at: Utc = Field(description="The end of the period: spend counts from nothing again.")
    state: State
    spent_usd: str
    limit_usd: str
    percent: str = Field(description="Spent of the limit, rounded down to two decimals.")
    levels: tuple[int, ...] = Field(description="The levels that are reached, percent.")
    breach_p50: Utc | None = Field(
        description="When the limit is probably reached; when it was, if it is exceeded; null: not in this period, or "
        "not known."
    )
    breach_p90: Utc | None = Field(description="The earliest plausible time of that.")
    forecast_p50_usd: str | None = Field(description="Spend at the period's end: in half of the cases it stays below.")
    forecast_p90_usd: str | None = Field(description="In nine of ten cases it stays below.")
    forecast_trials: int = Field(description="Past days that the forecast was tried on; under 8 it is a wide guess.")
    as_of: Utc = Field(description="Event time up to which it was made.")
    since: Utc | None = Field(description="From when spend was counted; null: the whole period.")

    @property
    def spent_picos(self) -> int:
        """What was spent, picodollars."""
        return picos(self.spent_usd)

    def expired(self, now: datetime) -> bool:
        """Whether its period is over."""
        return now >= self.resets_at


def status(
    budget: Budget,
    standing: Standing,
    as_of: datetime,
    forecast: Forecast | None = None,
    since: datetime | None = None,
) -> BudgetStatus:
    """The status of a standing.

    Args:
        standing: of the period that `as_of` lies in.
        as_of: event time, the watermark.
        forecast: from the local day of `as_of` to the period's end; None: not known.
        since: from when its spend was counted, if that is not the whole period.
    """
    breaches: list[datetime | None] = [None, None]
    full = next((i for i in standing.incidents if i.level == FULL and FULL in standing.levels), None)
    if full is not None:
        breaches = [full.told, full.told]
    elif forecast is not None:
        today = as_of.astimezone(standing.period.zone).date()
        left = int((standing.period.day_end(today) - as_of).total_seconds())
        for number, path in enumerate((forecast.p50, forecast.p90)):
            seconds = seconds_to_breach(path, standing.spent, standing.limit, left)
            when = None if seconds is None else as_of + timedelta(seconds=seconds)
            breaches[number] = when if when is None or when < standing.period.end else None
    return BudgetStatus(
        budget_id=budget.id,
        name=budget.name,
        scope=budget.scope,
        member=standing.member,
        period=standing.period.kind,
        period_start=standing.period.start,
        resets_at=standing.period.end,
        state=state(standing.levels),
        spent_usd=usd(standing.spent),
        limit_usd=usd(standing.limit),
        percent=standing.percent,
        levels=standing.levels,
        breach_p50=breaches[0],
        breach_p90=breaches[1],
        forecast_p50_usd=usd(forecast.p50[-1]) if forecast else None,
        forecast_p90_usd=usd(forecast.p90[-1]) if forecast else None,
        forecast_trials=forecast.trials if forecast else 0,
        as_of=as_of,
        since=since,
    )


def state(levels: tuple[int, ...]) -> State:
    """What reached levels mean."""
    return "exceeded" if FULL in levels else "warning" if levels else "ok"


def present(status: BudgetStatus | None, budget: Budget, now: datetime) -> tuple[State, int]:
    """The state and the picodollars spent as whoever reads them at `now` must take them.

    The limit is the budget's present one. A status of a period that is over, or of other terms (the period or the scope
    was changed a moment ago), says nothing: ok, nothing spent.
    """
    if status is None or status.expired(now) or (status.scope, status.period) != (budget.scope, budget.period):
        return "ok", 0
    spent = status.spent_picos
    return state(_reached(budget, spent)), spent


def as_read(status: BudgetStatus, budget: Budget, now: datetime, zone: ZoneInfo) -> BudgetStatus:
    """The status as `present` takes it, as a whole: of the period that `now` lies in, with the budget's limit."""
    word, spent = present(status, budget, now)
    own: dict[str, object] = {
        "name": budget.name,
        "period": budget.period,
        "state": word,
        "spent_usd": usd(spent),
        "limit_usd": usd(budget.limit_picos),
        "percent": percent(spent, budget.limit_picos),
        "levels": _reached(budget, spent),
    }
    if status.expired(now) or status.period != budget.period:
        period = period_at(budget.period, now, zone)
        unknown = dict.fromkeys(("breach_p50", "breach_p90", "forecast_p50_usd", "forecast_p90_usd"))
        own |= {"period_start": period.start, "resets_at": period.end, "forecast_trials": 0, **unknown}
    return status.model_copy(update=own)


def _reached(budget: Budget, spent: int) -> tuple[int, ...]:
    return tuple(level for level in budget.levels if spent * 100 >= level * budget.limit_picos)


def picos(amount: str) -> int:
    """Picodollars of an amount as `usd` writes it."""
    sign, amount = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
    dollars, _, decimals = amount.partition(".")
    return sign * (int(dollars) * PICOS + int(decimals.ljust(12, "0") or "0"))
