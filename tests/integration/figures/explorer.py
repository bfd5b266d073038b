"""The explorer's panels."""

from collections.abc import Callable
from fractions import Fraction

from figures.asked import Answer, Asked, Chosen, leaders_over_time
from figures.calls import (
    NARROW,
    Calls,
    Near,
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

_ALL = ["$__all"]
_DIMENSIONS = (
    "provider", "model", "workload", "customer", "team", "project", "user", "service", "server", "gateway",
    "environment", "workflow", "agent", "api_key_id", "release", "cache_outcome", "operation", "cost_category",
    "region", "service_tier",
)  # fmt: skip


def _case(group_by: str, tag_key: str = "", **filters: list[str]) -> Chosen:
    return {"group_by": group_by, "tag_key": tag_key, "provider": _ALL, "model": _ALL, "gateway": _ALL, "team": _ALL,
            **filters}  # fmt: skip


_FILTERED: tuple[Chosen, ...] = (
    _case("workload", provider=["openai"]),
    _case("user", provider=["openai"]),
    _case("customer", gateway=["(unattributed)"], provider=["openai", "anthropic"]),
    _case("tag", "cost_center", team=["(unattributed)", "voice", "support"], provider=["openai", "anthropic"]),
    _case("release", model=["no such model"]),
)


def _narrow(asked: Asked) -> bool:
    return asked.dimension in NARROW or asked.dimension.startswith("tags.")


def _groups(asked: Asked) -> dict[str, Calls]:
    return grouped(asked.filtered(), lambda call: call.member(asked.dimension))


def _priced(calls: Calls) -> int:
    return len(calls) - unpriced(calls)


def _totals(asked: Asked) -> Answer:
    calls = asked.filtered()
    return [
        {
            "Cost": known_cost(calls),
            "Calls without a price": unpriced(calls),
            "Calls": len(calls),
            "Tokens": tokens(calls),
            "Tokens per call": near(tokens(calls), len(calls)),
            "Cost per call": near(cost(calls), _priced(calls)),
            "Cache hit rate": hit_rate(calls),
        }
    ][: len(calls)]


def _members(asked: Asked) -> Answer:
    groups, everything = _groups(asked), asked.filtered()
    whole = cost(everything)
    if not everything:
        return []
    groups.setdefault("", [])
    most = {"", *[member for member in dearest(groups) if member][:500]}
    return [
        {
            "Member": named(member),
            "Cost": known_cost(calls := groups[member]),
            "Share of spend": near(cost(calls), whole),
            "Share of calls": near(len(calls), len(everything), places=6),
            "Calls": len(calls),
            "Tokens": tokens(calls),
            "Tokens per call": near(tokens(calls), len(calls)),
            "Cost per call": near(cost(calls), _priced(calls)),
            "Cache hit rate": None if _narrow(asked) else hit_rate(calls),
            "Errors": near(sum(call.failed for call in calls), len(calls)),
            "Unpriced": unpriced(calls),
            "dimension": asked.dimension,
        }
        for member in dearest(groups)
        if member in most
    ]


def _over_time(asked: Asked) -> Answer:
    remainder = asked.dimension.startswith("tags.") and not asked.has_filter
    return leaders_over_time(asked, asked.filtered(), lambda call: call.member(asked.dimension), remainder=remainder)


def _shares(asked: Asked) -> Answer:
    groups, everything = _groups(asked), asked.filtered()
    whole = cost(everything)
    return [
        {
            "Member": named(member),
            "Share of spend": near(cost(groups[member]), whole),
            "Share of calls": near(len(groups[member]), len(everything), places=6),
        }
        for member in dearest(groups)[:15]
    ]


def _by_provider(asked: Asked) -> dict[str, Calls]:
    return grouped(asked.filtered(), lambda call: call.member("provider"))


def _providers(asked: Asked) -> Answer:
    costs = {provider: cost(calls) for provider, calls in _by_provider(asked).items()}
    return [
        {"Provider": name, "Cost": costs[name]} for name in sorted(costs, key=lambda name: (-costs[name], name))[:20]
    ]


def _concentration(asked: Asked) -> Answer:
    whole = Fraction(cost(asked.filtered()))
    shares = [Fraction(cost(calls)) / whole for calls in _by_provider(asked).values()] if whole else []
    return (
        [
            {
                "Largest provider": Near(max(shares), 12),
                "As many equal providers": near(1, sum(share * share for share in shares), places=9),
                "Providers": len(shares),
            }
        ]
        if shares
        else []
    )


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "explorer_totals": _totals,
    "explorer_members": _members,
    "explorer_over_time": _over_time,
    "explorer_shares": _shares,
    "explorer_providers": _providers,
    "explorer_concentration": _concentration,
}
_SOME = (_case("workload"), _case("user"), _case("tag", "cost_center"), _case("tag", "experiment"), *_FILTERED)
_EVERY = (*(_case(dimension) for dimension in _DIMENSIONS), *_SOME[2:])
CASES: dict[str, tuple[Chosen, ...]] = {
    **dict.fromkeys(("explorer_members", "explorer_shares"), _EVERY),
    "explorer_over_time": _SOME,
    **dict.fromkeys(("explorer_totals", "explorer_providers", "explorer_concentration"), (_case("team"), *_FILTERED)),
}
