"""The panels of one member."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from zoneinfo import ZoneInfo

from figures.asked import Answer, Asked, Chosen
from figures.calls import (
    Call,
    Calls,
    change,
    cost,
    dearest,
    grouped,
    hit_rate,
    known_cost,
    named,
    near,
    tokens,
    unpriced,
)
from streams.oracle.price import STATUS

HOUR = timedelta(hours=1)
_CHOSEN: tuple[Chosen, ...] = (
    {"dimension": "global", "member": ""},
    {"dimension": "workload", "member": "research-agent"},
    {"dimension": "workload", "member": "(unattributed)"},
    {"dimension": "provider", "member": "openai"},
    {"dimension": "user", "member": "(unattributed)"},
    {"dimension": "release", "member": ""},
    {"dimension": "tags.cost_center", "member": "cc-103"},
    {"dimension": "tags.cost_center", "member": "(unattributed)"},
)
_PRICED = {number: name for name, number in STATUS.items()}
_COMPONENTS = ("Input", "Cache read", "Cache write", "Output", "Audio", "Image", "Quantities", "Cost")


def _mine(asked: Asked) -> Calls:
    return asked.mine(asked.within())


def _latency(calls: Calls) -> object:
    timed = [call.event["duration_ms"] for call in calls if call.event["duration_ms"] is not None]
    return near(sum(timed), len(timed))


def _spend(asked: Asked) -> Answer:
    calls = _mine(asked)
    return [
        {
            "Cost": known_cost(calls),
            "Calls": len(calls),
            "Tokens": tokens(calls),
            "Cost per call": near(cost(calls), len(calls) - unpriced(calls)),
            "Tokens per call": near(tokens(calls), len(calls)),
            "Errors": near(sum(call.failed for call in calls), len(calls)),
            "Calls without a price": unpriced(calls),
        }
    ][: len(calls)]


def _share(asked: Asked) -> Answer:
    calls, mine = asked.within(), _mine(asked)
    nobody = [] if asked.dimension == "global" else [call for call in calls if not call.member(asked.dimension)]
    return [
        {
            "Share of spend": near(cost(mine), cost(calls)),
            "Share of calls": near(len(mine), len(calls)),
            "Unattributed": near(cost(nobody), cost(calls)),
        }
    ]


def _later(hour: datetime, weeks: int, zone: ZoneInfo) -> datetime:
    """The same hour of a later week as clocks show it; of an hour that comes twice, the first."""
    return (
        (hour.astimezone(zone).replace(tzinfo=None, fold=0) + timedelta(weeks=weeks))
        .replace(tzinfo=zone)
        .astimezone(UTC)
    )


def _hours(asked: Asked) -> list[tuple[datetime, Decimal, Decimal | None]]:
    """Each hour of the range: its spend, and the median of that hour in the four weeks before, of those since the
    member's first call that lies in them. Hours are those of clocks: one that comes twice is one."""

    def clock_hour(at: datetime) -> datetime:
        return _later(asked.hour(at), 0, asked.zone)

    first = asked.hour(asked.start)
    earliest = _later(first, -4, asked.zone)
    mine = asked.mine(call for call in asked.calls if earliest <= call.quarter <= asked.end)
    spent: dict[datetime, Decimal] = defaultdict(Decimal)
    for call in mine:
        spent[clock_hour(call.quarter)] += cost([call])
    if not spent:
        return []
    since, found = min(spent), []
    for hour in sorted({clock_hour(first + n * HOUR) for n in range((asked.end - first) // HOUR + 1)}):
        before = [_later(hour, -week, asked.zone) for week in (1, 2, 3, 4)]
        known = [spent.get(at, Decimal(0)) for at in before if at >= since]
        found.append((hour, spent.get(hour, Decimal(0)), median(known) if known else None))
    return found


def _against_usual(asked: Asked) -> Answer:
    hours = [
        (spent, usual)
        for at, spent, usual in _hours(asked)
        if usual is not None and at >= asked.start and at + HOUR <= asked.end
    ]
    if not hours:
        return []
    spend, usual = sum(each[0] for each in hours), sum(each[1] for each in hours)
    return [{"Spend": spend, "Usual": near(usual, 1, 9), "Difference": change(spend, usual, 6)}]


def _baseline(asked: Asked) -> Answer:
    return [
        {"time": at, "Spend": spent, "Usual": None if usual is None else near(usual, 1)}
        for at, spent, usual in _hours(asked)
    ]


def _models(asked: Asked) -> Answer:
    mine = _mine(asked)
    groups, whole = grouped(mine, lambda call: (call.member("provider"), call.model)), cost(mine)
    return [
        {
            "Provider": pair[0],
            "Model": pair[1],
            "Cost": cost(calls := groups[pair]),
            "Share": near(cost(calls), whole),
            "Calls": len(calls),
            "Tokens": tokens(calls),
            "Cost per call": near(cost(calls), len(calls)),
            "Tokens per call": near(tokens(calls), len(calls)),
        }
        for pair in dearest(groups)[:50]
    ]


def _users(asked: Asked) -> Answer:
    mine = _mine(asked)
    groups, whole = grouped(mine, lambda call: call.member("user")), cost(mine)
    return [
        {
            "User": named(user),
            "Cost": cost(calls := groups[user]),
            "Share": near(cost(calls), whole),
            "Calls": len(calls),
            "Tokens": tokens(calls),
            "Cost per call": near(cost(calls), len(calls)),
        }
        for user in dearest(groups)[:50]
    ]


def _quality(asked: Asked) -> Answer:
    calls = _mine(asked)
    return [
        {
            "Mean latency": _latency(calls),
            "Errors": near(sum(call.failed for call in calls), len(calls)),
            "Cache hit rate": hit_rate(calls),
        }
    ][: len(calls)]


def _series(columns: Callable[[Calls], dict[str, object]]) -> Callable[[Asked], Answer]:
    def figures(asked: Asked) -> Answer:
        steps = grouped(_mine(asked), lambda call: asked.stepped(call.quarter))
        return [{"time": at, **columns(steps[at])} for at in sorted(steps)]

    return figures


def _answered(calls: Calls) -> dict[str, object]:
    failed = sum(call.failed for call in calls)
    return {"Answered": len(calls) - failed, "Errors": failed}


def _logged(call: Call) -> dict[str, object]:
    event = call.event
    costs = dict.fromkeys(_COMPONENTS)
    if call.costs is not None:
        costs = {name: cost_of for name, cost_of in zip(_COMPONENTS, call.costs, strict=True)}
    return {
        "Provider": event["provider"],
        "Model": call.model,
        "Operation": event["operation"],
        "Priced": _PRICED[call.status],
        **{name: None if picos is None else Decimal(picos).scaleb(-12) for name, picos in costs.items()},
        "Input tokens": event["input_tokens"],
        "Of these read from cache": event["cache_read_input_tokens"],
        "Of these written to cache": event["cache_creation_input_tokens"],
        "Output tokens": event["output_tokens"],
        "Of these reasoning": event["reasoning_output_tokens"],
        "Duration": event["duration_ms"],
        "Error": event["error_type"],
        "Cache": event["cache_outcome"],
        **{name.capitalize(): call.member(name) for name in ("workload", "customer", "team", "user", "server")},
        "Id": event["id"],
        "Source": event["source"],
        "Log": "log",
        "Partition": call.partition,
        "Offset": call.offset,
    }


def _log(asked: Asked) -> Answer:
    """The latest hundred calls. The rate that priced them is the pipeline's own word."""
    ended = asked.mine(call for call in asked.calls if asked.start <= call.at <= asked.end)
    ended.sort(key=lambda call: (-call.event["time"], call.partition, -call.offset))
    return [
        {"Time": call.at.replace(microsecond=call.at.microsecond // 1000 * 1000), **_logged(call)}
        for call in ended[:100]
    ]


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "member_spend": _spend,
    "member_against_usual": _against_usual,
    "member_share": _share,
    "member_baseline": _baseline,
    "member_models": _models,
    "member_users": _users,
    "member_quality": _quality,
    "member_latency": _series(lambda calls: {"Mean latency": _latency(calls)}),
    "member_errors": _series(_answered),
    "member_cache": _series(lambda calls: {"Cache hit rate": hit_rate(calls)}),
    "member_calls": _log,
}
CASES = dict.fromkeys(FIGURES, _CHOSEN)
WORDS = {"member_calls": ("Rate", "Price version", "Without a price")}
