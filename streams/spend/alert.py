"""Alerts: one function a type, from plain figures to the document that goes to spend.alerts. Pure.

Money comes as integers of picodollars and leaves as exact strings in `*_usd` fields; titles and texts are for people.
An incident's severity is the same from its opening to its end, so that a channel that heard of it also hears that it is
over. docs/alerts.md describes the fields; the functions for budgets are in `alert_budget`.
"""

from collections.abc import Sequence
from fractions import Fraction

from streams.spend.alert_budget import (
    BudgetLevel,
    budget_incident,
    budget_opened,
    budget_resolved,
    budget_retracted,
    budget_revised,
)
from streams.spend.alert_document import Alert, Completeness, Instant, Origin, instant, rfc3339
from streams.spend.alert_document import document as _document
from streams.spend.alert_text import causes, counted, explained, lines, moment, one_line, span, times, who
from streams.spend.anomaly import Finding, incident_id
from streams.spend.change_split import CAUSES, Share, Split
from streams.spend.dimensions import GLOBAL
from streams.spend.money import shown, usd
from streams.spend.trend import Trend

__all__ = [
    "Alert",
    "BudgetLevel",
    "Completeness",
    "Instant",
    "Origin",
    "anomaly",
    "budget_incident",
    "budget_opened",
    "budget_resolved",
    "budget_retracted",
    "budget_revised",
    "stalled",
    "trend",
    "unpriced",
]


def anomaly(
    origin: Origin,
    dimension: str,
    member: str,
    finding: Finding,
    *,
    explained_by: Sequence[Share] = (),
    split: Split | None = None,
    details: str = "complete",
) -> Alert:
    """An incident of unusual spend opened, grew or ended.

    Args:
        explained_by: members of other dimensions, the most telling first.
        split: the causes of the change; None where `details` says why there is none.
        details: `complete`, or why explanation or split are missing.
    """
    name = who(dimension, member)
    much, relative = shown(finding.actual), times(finding.actual, finding.expected)
    lasted = span(finding.until - finding.since)
    title = {
        "opened": f"Unusual spend of {name}: {much}, {relative}",
        "updated": f"Unusual spend of {name} goes on: {much} in {lasted}, {relative}",
        "closed": f"Unusual spend of {name} is over: {shown(finding.excess)} above the expected in {lasted}",
    }[finding.change]
    text = lines(
        [
            f"From {moment(finding.since, origin.zone)} to {moment(finding.until, origin.zone)} {name} cost "
            f"{shown(finding.actual)}; {shown(finding.expected)} was expected, so {shown(finding.excess)} too much.",
            f"Where: {explained(explained_by)} of the excess." if explained_by else "",
            f"Why: {causes(split)}." if split and any(split.parts.values()) else "",
            f"Not known: {one_line(details)}." if details != "complete" else "",
        ]
    )
    incident = incident_id(dimension, member, finding)
    return _document(
        origin,
        type=f"spend.anomaly.{finding.change}",
        id=f"{incident}/{finding.change}" + (f"/{finding.window}" if finding.change == "updated" else ""),
        incident=incident,
        change=finding.change,
        severity=finding.severity,
        subject=f"{dimension}/{member}",
        time=finding.window + finding.window_seconds,
        title=title,
        text=text,
        dimension=dimension,
        member=member,
        window_seconds=finding.window_seconds,
        since=rfc3339(finding.since),
        until=rfc3339(finding.until),
        expected_usd=usd(finding.expected),
        actual_usd=usd(finding.actual),
        excess_usd=usd(finding.excess),
        score=f"{finding.score:.3f}",
        explained_by=[
            {
                "dimension": share.dimension,
                "member": share.member,
                "expected_usd": usd(share.expected),
                "actual_usd": usd(share.actual),
                "share_ppm": share.share_ppm,
            }
            for share in explained_by
        ],
        split=None
        if split is None
        else {f"{cause}_usd": usd(split.parts.get(cause, 0)) for cause in CAUSES} | {"total_usd": usd(split.change)},
        details=details,
    )


def trend(origin: Origin, dimension: str, trend: Trend, days: int, until: Instant) -> Alert:
    """A member's spend rises or falls over `days` that end at `until`, a local midnight.

    Raises:
        ValueError: the spend did not change.
    """
    if not trend.change:
        raise ValueError(f"{dimension}/{trend.member}: spend that did not change has no trend")
    direction = "rising" if trend.change > 0 else "falling"
    last_day = instant(until).astimezone(origin.zone).date()
    incident = f"trend/{dimension}/{trend.member}/{direction}/{last_day}"
    name, ratio = who(dimension, trend.member), trend.ratio
    change = None if ratio is None else _hundredths(ratio * 100)
    much = "from nothing" if change is None else f"{'+' if trend.change > 0 else ''}{change}%"
    return _document(
        origin,
        type="spend.trend",
        id=f"{incident}/opened",
        incident=incident,
        change="opened",
        severity="info",
        subject=f"{dimension}/{trend.member}",
        time=until,
        title=f"Spend of {name} is {direction}: {much} over {counted(days, 'day')}",
        text=(
            f"{shown(trend.current)} in the {counted(days, 'day')} to {moment(until, origin.zone)}, "
            f"{shown(trend.previous)} in the {counted(days, 'day')} before. "
            f"Its daily spend {'grows' if trend.slope >= 0 else 'shrinks'} by {shown(abs(trend.slope))} a day."
        ),
        dimension=dimension,
        member=trend.member,
        direction=direction,
        previous_usd=usd(trend.previous),
        current_usd=usd(trend.current),
        change_usd=usd(trend.change),
        change_percent=change,
        slope_usd_per_day=usd(trend.slope),
        p_value=f"{trend.p_value:.6f}",
        days=days,
    )


def unpriced(origin: Origin, model: str, provider: str, calls: int, first_seen: Instant) -> Alert:
    """A model has no price: its calls are counted without a cost. `provider`: '' where it is not known."""
    incident = f"unpriced/{model}"
    name = f"{one_line(model)} of {one_line(provider)}" if provider else one_line(model)
    return _document(
        origin,
        type="spend.model.unpriced",
        id=f"{incident}/opened",
        incident=incident,
        change="opened",
        severity="minor",
        subject=f"model/{model}",
        time=first_seen,
        title=f"Model {name} has no price: {counted(calls, 'call')} without a cost",
        text=(
            f"First seen {moment(first_seen, origin.zone)}. Totals and budgets lack what these calls cost. "
            "`spendstream rates explain` says why there is no price, `spendstream rates set` sets one."
        ),
        dimension="model",
        member=model,
        model=model,
        provider=provider,
        calls=calls,
        first_seen=rfc3339(first_seen),
    )


def stalled(origin: Origin, at: Instant, *, partition: int, mark: int, lag: int, seconds: int) -> Alert:
    """A partition with events waiting has not been counted for `seconds`. `mark`: the last source offset counted."""
    incident = f"stalled/{partition}/{mark}"
    return _document(
        origin,
        type="spend.pipeline.stalled",
        id=f"{incident}/opened",
        incident=incident,
        change="opened",
        severity="critical",
        subject=f"partition/{partition}",
        time=at,
        title=f"Spend is not being counted: partition {partition} stands still with {counted(lag, 'event')} waiting",
        text=(
            f"Nothing behind source offset {mark} of partition {partition} has been counted for {span(seconds)}. "
            "Until it goes on, totals lack these events and budgets do not see them. `spendstream doctor` says more."
        ),
        dimension=GLOBAL,
        member="",
        partition=partition,
        mark=mark,
        lag=lag,
        seconds=seconds,
    )


def _hundredths(value: Fraction) -> str:
    hundredths = round(value * 100)
    return f"{'-' if hundredths < 0 else ''}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"
