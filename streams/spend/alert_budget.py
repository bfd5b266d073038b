"""Alerts about budgets: a level reached, corrected, withdrawn, or over with its period. Pure."""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from streams.spend.alert_document import Alert, Change, Instant, Origin, Severity, document, instant, rfc3339
from streams.spend.alert_text import lines, moment, one_line, who
from streams.spend.dimensions import GLOBAL
from streams.spend.money import percent, shown, usd

Reason = Literal["spend", "terms", "period", "removed"]
"""Why a budget's incident changed: the spend, the budget's limit or levels, its period's end, its removal."""

EXCEEDED = 100  # percent: the level that is the limit itself


@dataclass(frozen=True)
class BudgetLevel:
    """A level (percent of the limit) that a budget's member crossed in a period. Amounts in picodollars."""

    budget_id: str
    name: str
    scope: str
    member: str
    period: str  # day, week, month, quarter, year
    period_start: Instant
    resets_at: Instant
    level: int
    limit: int
    spent: int
    crossed_at: Instant  # the event-time minute of the crossing


def budget_incident(level: BudgetLevel, zone: tzinfo) -> str:
    """The incident's key: one for each budget, member, period and level. The period is named by its local first day."""
    first_day = instant(level.period_start).astimezone(zone).date()
    return f"budget/{level.budget_id}/{level.member}/{first_day}/{level.level}"


def budget_opened(origin: Origin, at: Instant, level: BudgetLevel, *, escalated: bool = False, again: int = 0) -> Alert:
    """The level was reached. `escalated`: a lower one of the same period was open. `again`: how often this level was
    opened and retracted before."""
    text = lines(
        [
            f"{_spender(level)} spent {_figures(level)} by {moment(at, origin.zone)}. "
            f"The level of {level.level}% was crossed at {moment(level.crossed_at, origin.zone)}.",
            _until(origin, level),
        ]
    )
    change: Change = "escalated" if escalated else "opened"
    kind, title = _opening_type(level), _headline(level)
    return _budget(origin, at, level, type=kind, change=change, title=title, text=text, again=again)


def budget_revised(origin: Origin, at: Instant, level: BudgetLevel, number: int) -> Alert:
    """Late events or corrections changed what an open incident said; `number` counts the revisions from 1."""
    text = lines([f"Corrected: {_spender(level, inside=True)} spent {_figures(level)}.", _until(origin, level)])
    kind, title = _opening_type(level), f"Corrected: {_headline(level)}"
    return _budget(origin, at, level, type=kind, change="revised", title=title, text=text, suffix=f"/{number}")


def budget_retracted(
    origin: Origin, at: Instant, level: BudgetLevel, *, again: int = 0, reason: Reason = "spend"
) -> Alert:
    """The spend is below the level again: corrections lowered it, or the budget's terms were changed."""
    why = {
        "spend": "Corrections lowered the spend",
        "terms": "The budget was changed",
        "period": "The budget's period was changed",
        "removed": "The budget was removed",
    }[reason]
    title = f"{_budget_name(level)} is back below {level.level}%: {shown(level.spent)} of {shown(level.limit)}"
    text = lines(
        [
            f"{why}: {_spender(level, inside=True)} spent {_figures(level)}. "
            f"The alert about {moment(level.crossed_at, origin.zone)} is withdrawn.",
            _until(origin, level),
        ]
    )
    return _budget(
        origin, at, level, type="spend.budget.resolved", change="retracted", title=title, text=text, again=again
    )


def budget_resolved(
    origin: Origin, at: Instant, level: BudgetLevel, *, again: int = 0, reason: Reason = "period"
) -> Alert:
    """The incident is over: its period ended, or the budget was changed or removed."""
    figures = f"{shown(level.spent)} of {shown(level.limit)}"
    title, text = {
        "period": (
            f"the {level.period} ended at {figures}",
            f"A new {level.period} began at {moment(level.resets_at, origin.zone)}: the whole limit is there again.",
        ),
        "removed": (f"removed at {figures}", "The budget was removed."),
        "terms": (
            f"changed at {figures}",
            f"The budget was changed: its level of {level.level}% is not reached, or not there, any more.",
        ),
        "spend": (f"over at {figures}", _until(origin, level)),
    }[reason]
    return _budget(
        origin,
        at,
        level,
        type="spend.budget.resolved",
        change="resolved",
        title=f"{_budget_name(level)}: {title}",
        text=f"{_spender(level)} spent {_figures(level)}. {text}",
        again=again,
    )


def _budget(
    origin: Origin,
    at: Instant,
    level: BudgetLevel,
    *,
    type: str,
    change: Change,
    title: str,
    text: str,
    again: int = 0,
    suffix: str = "",
) -> Alert:
    incident = budget_incident(level, origin.zone)
    severity: Severity = "major" if level.level >= EXCEEDED else "minor"
    return document(
        origin,
        type=type,
        id=f"{incident}/{change}{suffix}" + (f"/{again + 1}" if again else ""),
        incident=incident,
        change=change,
        severity=severity,
        subject=f"budget/{level.budget_id}",
        time=at,
        title=title,
        text=text,
        dimension=level.scope,
        member=level.member,
        budget_id=level.budget_id,
        name=level.name,
        scope=level.scope,
        period=level.period,
        period_start=rfc3339(level.period_start),
        resets_at=rfc3339(level.resets_at),
        level=level.level,
        limit_usd=usd(level.limit),
        spent_usd=usd(level.spent),
        percent=percent(level.spent, level.limit),
        crossed_at=rfc3339(level.crossed_at),
    )


def _opening_type(level: BudgetLevel) -> str:
    return "spend.budget.exceeded" if level.level >= EXCEEDED else "spend.budget.warning"


def _budget_name(level: BudgetLevel) -> str:
    of = "" if level.scope == GLOBAL else f" ({who(level.scope, level.member)})"
    return f"Budget {one_line(level.name)}{of}"


def _headline(level: BudgetLevel) -> str:
    said = "exceeded" if level.level >= EXCEEDED else f"over {level.level}%"
    return f"{_budget_name(level)} {said}: {_figures(level)}"


def _figures(level: BudgetLevel) -> str:
    return f"{shown(level.spent)} of {shown(level.limit)} ({percent(level.spent, level.limit)}%)"


def _spender(level: BudgetLevel, *, inside: bool = False) -> str:
    """As a sentence begins with it, or as it stands inside of one."""
    name = "the organisation" if level.scope == GLOBAL else who(level.scope, level.member)
    return name if inside else name[0].upper() + name[1:]


def _until(origin: Origin, level: BudgetLevel) -> str:
    return f"The {level.period} ends at {moment(level.resets_at, origin.zone)}."
