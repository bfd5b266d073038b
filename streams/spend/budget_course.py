"""A member's budget as time goes on: which periods are evaluated, roll-over, late events, the end of a budget. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from streams.spend.budget import Budget
from streams.spend.budget_crossing import Spend, spent
from streams.spend.budget_levels import Change, Standing, close, evaluate
from streams.spend.budget_period import BudgetPeriod, period_at, period_of

LATE = timedelta(days=40)
"""A late event opens or retracts incidents of a period that ended at most so long before the watermark."""


def follow(
    budget: Budget | None,
    member: str,
    spend: Spend,
    now: datetime,
    zone: ZoneInfo,
    *,
    before: Sequence[Standing] = (),
    changed_days: Iterable[date] = (),
    changed_from: datetime | None = None,
    seen: datetime | None = None,
) -> tuple[tuple[Standing, ...], list[Change]]:
    """The standings of one member's budget in every period that matters, and what changed.

    Evaluated are the period of `now`, those of the changed days and those with an incident open. To be called when the
    member's spend changed, when the budget changed, and for everything when the local day of `now` has changed.

    Args:
        budget: None: it is gone, what is open is resolved.
        member: '' for global.
        spend: absolute.
        now: event time, the watermark.
        zone: decides days.
        before: what this function gave before.
        changed_days: local days whose spend may have changed.
        changed_from: as for `evaluate`.
        seen: the watermark when these terms of the budget (limit, thresholds, period) were first seen: periods that had
            ended by then are not judged by them. None: no period had.

    Returns:
        The standings to remember, by the start of their period, and the changes in the order to tell them. Left out are
        those of past periods without incidents, and those that late events cannot change any more.
    """
    if budget is None:
        closed = [close(standing, now) for standing in before]
        return tuple(left for left, _ in closed if not left.period.over(now)), [c for _, told in closed for c in told]

    days = tuple(changed_days)
    calm = _still_calm(budget, spend, period_at(budget.period, now, zone), before, days)
    if calm is not None:
        return (calm,), []

    def may_change(period: BudgetPeriod) -> bool:
        return period.end > now - LATE and (seen is None or period.end > seen)

    known = {standing.period.first: standing for standing in before}  # the first day is what an incident's key has
    wanted = {period for day in days if may_change(period := period_of(budget.period, day, zone))}
    wanted.add(period_at(budget.period, now, zone))
    wanted |= {s.period for s in before if s.open and s.period.kind == budget.period}
    changes: list[Change] = []
    for first in set(known) - {period.first for period in wanted}:
        if known[first].period.kind != budget.period:
            known[first], told = close(known[first], now, "terms")
            changes += told
    for period in sorted(wanted, key=lambda period: period.first):
        known[period.first], told = evaluate(
            budget, member, spend, period, now, before=known.get(period.first), changed_from=changed_from
        )
        changes += told
    standings = known.values()
    kept = [s for s in standings if not s.period.over(now) or (s.incidents and s.period.end > now - LATE)]
    return tuple(sorted(kept, key=lambda standing: standing.period.first)), changes


def _still_calm(
    budget: Budget, spend: Spend, period: BudgetPeriod, before: Sequence[Standing], days: Sequence[date]
) -> Standing | None:
    """The present period's standing, where it is the only one, nothing was ever said of it and nothing is to be said.

    So it is with most changes of most members: it saves the rest of the work and comes to the same.
    """
    if len(before) != 1 or before[0].incidents or before[0].period != period or not all(map(period.holds, days)):
        return None
    limit, total = budget.limit_picos, spent(spend.daily, period)
    if before[0].limit != limit or total * 100 >= budget.levels[0] * limit:
        return None
    return replace(before[0], spent=total, levels=())


def current(standings: Iterable[Standing], period: BudgetPeriod) -> Standing | None:
    """The standing of a period; `period_at(budget.period, now, zone)` is the present one."""
    return next((standing for standing in standings if standing.period == period), None)
