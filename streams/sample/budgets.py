"""The budgets of the invented company (budgets.yaml), with limits that fit the traffic that it has."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from streams.periods import calendar, midnight
from streams.sample.generator import Sample
from streams.sample.live import Incident, LiveTraffic
from streams.sample.organisation import organisation
from streams.sample.spend import by_member, priced, sound
from streams.spend.budget import EACH, PeriodKind, slug
from streams.spend.money import PICOS, usd
from streams.spend.rates import RateTable

_DRAWN = 4_000  # live events whose mean cost stands for what is to come
_LOOP_SECONDS = 60  # the live budget is exceeded when the loop has run for about so long
_SPARE_SECONDS = 300  # of usual spend that the live budget has room for beyond that


class _Planned(BaseModel):
    """A budget of budgets.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    scope: str
    member: str = ""
    periods: list[PeriodKind] = Field(min_length=1)
    percent_of_spend: int = Field(gt=0)
    thresholds: list[int] = [80]


@lru_cache
def _planned() -> list[_Planned]:
    text = resources.files("streams.sample").joinpath("budgets.yaml").read_text(encoding="utf-8")
    return TypeAdapter(list[_Planned]).validate_python(yaml.safe_load(text))


def sample_budgets(
    sample: Sample, now: datetime, zone: ZoneInfo, table: RateTable | None = None
) -> list[dict[str, Any]]:
    """The budgets as documents of `spend.budgets`: one red, one yellow, the others fine once all the sample is counted.

    Args:
        sample: whose spend decides the limits.
        now: the end of its traffic; the budgets are created then.
        zone: decides the periods, SPEND_TIMEZONE.
        table: the rates in force; the sample's own when left out.

    Where a period has just begun and nothing has been spent in it, the limit is made of all of the sample's spend, and
    the budget is fine.
    """
    spend = priced(sound(sample), table)
    made = []
    for plan in _planned():
        period, start = _period(plan.periods, now, zone)
        since = pl.lit(start.astimezone(UTC).replace(tzinfo=None))
        picos = _spent(spend.filter(pl.col("time") >= since), plan) or _spent(spend, plan)
        limit = max(1, picos * plan.percent_of_spend // 100)
        made.append(_document(plan.name, plan.scope, plan.member, period, limit, thresholds=plan.thresholds, now=now))
    return made


def live_budget(rate: float, after: float, now: datetime, table: RateTable | None = None) -> dict[str, Any]:
    """A day's budget on the workload that runs away in live traffic, exceeded about a minute after that.

    Args:
        rate: events a second.
        after: seconds until the incident.
        now: when the traffic starts; the budget is created then.
        table: the rates in force; the sample's own when left out.
    """
    runaway, incident = organisation().story.runaway, Incident.after(after, rate)
    traffic = LiveTraffic(1, now)
    usual = priced(traffic.events(now, now, _DRAWN), table).filter(pl.col("workload") == runaway.workload)
    looped = priced(traffic.events(now, now, 0, _DRAWN), table)
    usual_calls, looped_calls = round(rate * (after + _SPARE_SECONDS)), round(incident.rate * _LOOP_SECONDS)
    limit = (int(usual["picos"].sum()) * usual_calls + int(looped["picos"].sum()) * looped_calls) // _DRAWN
    name = f"{runaway.workload.replace('-', ' ').capitalize()} today"
    return _document(name, "workload", runaway.workload, "day", limit, thresholds=[50, 80], now=now)


def _period(kinds: list[PeriodKind], now: datetime, zone: ZoneInfo) -> tuple[PeriodKind, datetime]:
    """The first of the periods that is a day old, else the oldest, with its start."""
    today = now.astimezone(zone).date()
    starts = [(kind, midnight(calendar(kind, today)[0], zone)) for kind in kinds]
    old = [(kind, start) for kind, start in starts if now - start >= timedelta(days=1)]
    return old[0] if old else min(starts, key=lambda each: each[1])


def _spent(spend: pl.DataFrame, plan: _Planned) -> int:
    """What the budget's member has spent, picodollars; of each member, the one that spent most."""
    members = by_member(spend, plan.scope, timedelta(days=1)).group_by("member").agg(pl.col("picos").sum())
    if plan.member == EACH:
        return members.filter(pl.col("member") != "")["picos"].max() or 0  # type: ignore[return-value]
    return int(members.filter(pl.col("member") == plan.member)["picos"].sum())


def _document(
    name: str, scope: str, member: str, period: PeriodKind, limit: int, *, thresholds: list[int], now: datetime
) -> dict[str, Any]:
    return {
        "id": slug(name),
        "name": name,
        "scope": scope,
        "member": member,
        "period": period,
        "limit_usd": usd(_round(limit)),
        "thresholds": thresholds,
        "created_at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _round(picos: int) -> int:
    """Three digits, to whole dollars at least from $100 on, as people set limits."""
    return max(1, round(picos, 3 - len(str(picos)))) if picos < 100 * PICOS else round(picos, -len(str(PICOS)) + 1)
