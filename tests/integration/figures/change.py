"""The panels of why spend changed. The split is that of streams/spend/change_split.py, over sums of these calls."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from figures.asked import Answer, Asked, Chosen
from figures.calls import EPOCH, QUARTER, Calls, change, cost, dollars, grouped, named
from streams.spend.change_split import CAUSES, Usage, split_change

_CHOSEN: tuple[Chosen, ...] = (
    {"dimension": "global", "member": "(all)", "compare": "previous"},
    {"dimension": "global", "member": "(all)", "compare": "week"},
    {"dimension": "customer", "member": "(unattributed)", "compare": "four_weeks"},
    {"dimension": "user", "member": "(unattributed)", "compare": "previous"},
    {"dimension": "tags.cost_center", "member": "cc-103", "compare": "week"},
)
_KINDS = ("input", "cache_read", "cache_write", "output", "audio", "image", "quantities")
_NAMES = ("Volume", "Model mix", "Tier mix", "Tokens per call", "Cache", "Price")
_BEARERS = (
    "workload",
    "customer",
    "team",
    "project",
    "provider",
    "model",
    "service",
    "server",
    "gateway",
    "environment",
)
_STANDARD = ("default", "standard", "auto", "on_demand", "on-demand")


def _stretches(asked: Asked) -> tuple[datetime, datetime, datetime, datetime]:
    """Both stretches: from, up to and without; the same stretch weeks before is that of the clocks."""
    start = EPOCH - (EPOCH - asked.start) // QUARTER * QUARTER
    end = EPOCH + ((asked.end - EPOCH) // QUARTER + 1) * QUARTER
    weeks = {"week": 1, "four_weeks": 4}.get(str(asked.chosen["compare"]))
    if weeks is None:
        return start - (end - start), start, start, end

    def before(at: datetime) -> datetime:
        local = at.astimezone(asked.zone).replace(tzinfo=None) - timedelta(weeks=weeks)
        return local.replace(tzinfo=asked.zone).astimezone(EPOCH.tzinfo)

    return before(start), before(end), start, end


def _both(asked: Asked) -> tuple[Calls, Calls]:
    """The member's calls before and in this range."""
    before_start, before_end, start, end = _stretches(asked)
    return asked.mine(asked.between(before_start, before_end)), asked.mine(asked.between(start, end))


def _what(asked: Asked) -> Answer:
    titles = ("Before, from", "Before, to", "This range, from", "This range, to")
    shown = [f"{at.astimezone(asked.zone):%Y-%m-%d %H:%M}" for at in _stretches(asked)]
    return [dict(zip(titles, shown, strict=True))]


def _totals(asked: Asked) -> Answer:
    before, now = _both(asked)
    return [
        {
            "Before": cost(before),
            "This range": cost(now),
            "Change": cost(now) - cost(before),
            "Change in percent": change(cost(now), cost(before)),
            "Calls before": len(before),
            "Calls in this range": len(now),
        }
    ][: len(before) + len(now)]


def _tier(name: str) -> str:
    tier = name.strip().lower()
    return "" if tier in _STANDARD else tier


def _usages(calls: Calls) -> list[Usage]:
    """What each model used on each tier."""
    groups = grouped(
        calls, lambda call: (f"{call.member('provider')}/{call.model}", _tier(call.member("service_tier")))
    )
    found = []
    for (model, tier), mine in groups.items():

        def total(name: str, mine: Calls = mine) -> int:
            return sum(call.event[name] or 0 for call in mine)

        read, written = total("cache_read_input_tokens"), total("cache_creation_input_tokens")
        sound = total("audio_input_tokens"), total("audio_output_tokens")
        images = total("image_input_tokens"), total("image_output_tokens")
        units = {
            "input": max(total("input_tokens") - read - written - sound[0] - images[0], 0),
            "cache_read": read,
            "cache_write": written,
            "output": max(total("output_tokens") - sound[1] - images[1], 0),
            "audio": sum(sound),
            "image": sum(images),
        }
        costs = {kind: sum(call.costs[n] for call in mine if call.costs) for n, kind in enumerate(_KINDS)}
        found.append(Usage(model, tier, len(mine), units, costs))
    return found


def _parts(asked: Asked) -> list[tuple[str, Decimal]]:
    before, now = _both(asked)
    if not cost(before) and not cost(now):
        return []
    parts = split_change(_usages(before), _usages(now)).parts
    return [(name, dollars(parts[cause])) for name, cause in zip(_NAMES, CAUSES, strict=True)]


def _causes(asked: Asked) -> Answer:
    before = cost(_both(asked)[0])
    return [
        {"Cause": name, "Change": part, "Of the spend before": change(before + part, before)}
        for name, part in _parts(asked)
    ]


def _bridge(asked: Asked) -> Answer:
    return [
        {"Cause": name, "More": part if part > 0 else None, "Less": part if part < 0 else None}
        for name, part in _parts(asked)
    ]


def _contributors(asked: Asked) -> Answer:
    before, now = _both(asked)
    found = []
    for dimension in _BEARERS:
        was, is_now = (grouped(calls, lambda call: call.member(dimension)) for calls in (before, now))  # noqa: B023
        members = was.keys() | is_now.keys()
        if dimension == asked.dimension or len(members) < 2:
            continue
        found += [(dimension, member, cost(was.get(member, [])), cost(is_now.get(member, []))) for member in members]
    found = [each for each in found if each[2] != each[3]]
    found.sort(key=lambda each: (-abs(each[3] - each[2]), each[0], each[1]))
    return [
        {"Dimension": of, "Member": named(member), "Before": was, "This range": now, "Change": now - was}
        for of, member, was, now in found[:50]
    ]


def _models(asked: Asked) -> Answer:
    before, now = _both(asked)
    was, is_now = (
        grouped(calls, lambda call: (call.member("provider"), call.model, call.member("service_tier")))
        for calls in (before, now)
    )
    found = [(key, was.get(key, []), is_now.get(key, [])) for key in was.keys() | is_now.keys()]
    found.sort(key=lambda each: (-abs(cost(each[2]) - cost(each[1])), each[0]))
    return [
        {
            "Provider": provider,
            "Model": model,
            "Tier": tier or "standard",
            "Before": cost(then),
            "This range": cost(now),
            "Change": cost(now) - cost(then),
            "Calls before": len(then),
            "Calls in this range": len(now),
        }
        for (provider, model, tier), then, now in found[:30]
    ]


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "change_totals": _totals,
    "change_stretches": _what,
    "change_causes": _causes,
    "change_bridge": _bridge,
    "change_contributors": _contributors,
    "change_models": _models,
}
CASES = dict.fromkeys(FIGURES, _CHOSEN)
WORDS = {"change_causes": ("What it means",)}
