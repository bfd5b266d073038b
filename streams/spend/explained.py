"""What an anomaly says of its causes: the split of its change and the members behind it, from raw sums. Pure.

A member's calls while it was unusual are held against its calls in comparable stretches of the past. Three totals have
to meet, and are made to by scaling calls, units and costs alike, in whole numbers, so that nothing but the level moves:

- the past as a whole to `expected`: what it tells is the usual mix, prices and tokens a call, not the level;
- each past stretch that cost more than the median of them down to it: a runaway of yesterday is not today's usual;
- the raw rows to `actual`: an incident counts only its windows above the expected, the rows are of all of its time, and
  some may not have arrived. Where both are the same, nothing is scaled.

So the parts of the split sum to actual - expected exactly, and so do a dimension's members, all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median_low

from streams.spend.change_split import Share, Split, Usage, explain, round_to_sum, split_change
from streams.spend.dimensions import DIMENSIONS, OTHER, TAG

MOST_SHARES = 5
MOST_GROUPS = 200
_WHOLE = 1_000_000  # a weight of one


@dataclass(frozen=True)
class Explained:
    """`shares`: the most telling first; `split`: None where it is not known; `details`: `complete`, or what is not."""

    shares: tuple[Share, ...]
    split: Split | None
    details: str


@dataclass(frozen=True)
class MemberCosts:
    """Picodollars of one member of another dimension: while the spend was unusual, and in each past stretch.

    `key` is the tag's key, '' for every other dimension: the members of one (dimension, key) exclude each other.
    """

    dimension: str
    key: str
    member: str
    actual: int
    past: tuple[int, ...]


def weights(costs: Sequence[int]) -> list[int]:
    """The weight of each past stretch by its cost, in millionths: none counts for more than their median."""
    spent = [cost for cost in costs if cost > 0]
    middle = median_low(spent) if spent else 0
    return [_WHOLE * middle // cost if cost > middle else _WHOLE for cost in costs]


def split_excess(
    rows: Sequence[Usage], past: Sequence[Sequence[Usage]], expected: int, actual: int
) -> tuple[Split | None, list[int]]:
    """The split of `actual - expected`, and the weights of the past stretches that it used.

    The MOST_GROUPS (model, tier) that cost most are told apart, the others are one: exact fractions of thousands of
    models, which only names made up at random give, would take seconds.

    Args:
        rows: of the time that was unusual, one entry for each (model, tier).
        past: the same of each comparable stretch.
        expected, actual: picodollars.

    Returns:
        None instead of a split when the rows cost nothing, or when something was expected and the past cost nothing:
        there is nothing to compare.
    """
    held = sum(usage.cost for usage in rows)
    weighed = weights([sum(usage.cost for usage in stretch) for stretch in past])
    usual = added(_times(usage, weight) for stretch, weight in zip(past, weighed, strict=True) for usage in stretch)
    if held <= 0 or actual <= 0 or (expected > 0 and sum(usage.cost for usage in usual) <= 0):
        return None, weighed
    rows, usual = _fewer(rows, usual)
    if held == actual:
        return split_change(usual, rows, expected), weighed
    # both sides times `held` over it: the rows' total becomes `actual`, and the arithmetic stays whole
    enlarged = split_change(usual, [_times(usage, actual) for usage in rows], expected * held)
    parts = [Fraction(part, held) for part in enlarged.parts.values()]
    change = actual - expected
    return Split(change, dict(zip(enlarged.parts, round_to_sum(parts, change), strict=True))), weighed


def rank_members(
    total: MemberCosts, members: Sequence[MemberCosts], weighed: Sequence[int], expected: int, actual: int
) -> tuple[Share, ...]:
    """The members of other dimensions that explain the excess, the most telling first, at most MOST_SHARES.

    Those are left out that make up less of the excess than of the usual spend, and calls without a member where they
    make up no more of it. Members that tell the same are in the order of the dimensions, tags last.

    Args:
        total: of all calls, whatever they bear.
        members: of each (dimension, key) those that matter; what they lack of the total is taken to be one more.
        weighed: the weight of each past stretch.
        expected, actual: picodollars.
    """
    usual = _usual(total, weighed)
    if actual <= expected or total.actual <= 0 or (expected > 0 and usual <= 0):
        return ()
    groups: dict[tuple[str, str], list[MemberCosts]] = {}
    for member in members:
        groups.setdefault((member.dimension, member.key), []).append(member)
    rows: list[tuple[str, str, int, int]] = []
    for (dimension, key), group in groups.items():
        was = _shared([_usual(member, weighed) for member in group], usual, expected)
        now = _shared([member.actual for member in group], total.actual, actual)
        names = [*(member.member for member in group), OTHER]
        rows += [(f"{dimension}\0{key}", *row) for row in zip(names, was, now, strict=True)]
    shares = [
        replace(share, dimension=share.dimension.partition("\0")[0])
        for share in explain(actual - expected, rows, count=len(rows))
        if share.member != OTHER and share.lift_ppm >= (0 if share.member else 1)
    ]
    shares.sort(key=lambda share: (-share.lift_ppm, -share.share_ppm, DIMENSIONS.index(share.dimension), share.member))
    return tuple(shares[:MOST_SHARES])


def excluded(dimension: str, member: str, costs: MemberCosts) -> bool:
    """Whether a member says nothing of an anomaly of (dimension, member): it is of the same dimension."""
    if dimension == TAG:
        return costs.dimension == TAG and member.startswith(f"{costs.key}=")
    return costs.dimension == dimension


def _fewer(rows: Sequence[Usage], usual: Sequence[Usage]) -> tuple[list[Usage], list[Usage]]:
    """Both with the groups beyond MOST_GROUPS as one."""
    costs: dict[tuple[str, str], int] = {}
    for side in (rows, usual):
        whole = sum(usage.cost for usage in side) or 1
        for usage in side:
            group = usage.model, usage.tier
            costs[group] = max(costs.get(group, 0), usage.cost * _WHOLE // whole)  # its part, of either side
    told = set(sorted(costs, key=lambda group: (-costs[group], group))[:MOST_GROUPS])
    folded = [
        [usage if (usage.model, usage.tier) in told else replace(usage, model=OTHER, tier=OTHER) for usage in side]
        for side in (rows, usual)
    ]
    return added(folded[0]), added(folded[1])


def _usual(costs: MemberCosts, weighed: Sequence[int]) -> int:
    return sum(cost * weight for cost, weight in zip(costs.past, weighed, strict=True))


def _shared(parts: Sequence[int], whole: int, total: int) -> list[int]:
    """`total` in the proportions of the parts and of what they lack of the whole, which comes last."""
    if not whole:
        return [*(0 for _ in parts), total]
    return round_to_sum([Fraction(part * total, whole) for part in [*parts, whole - sum(parts)]], total)


def _times(usage: Usage, factor: int) -> Usage:
    return Usage(
        usage.model,
        usage.tier,
        usage.calls * factor,
        {kind: amount * factor for kind, amount in usage.units.items()},
        {kind: cost * factor for kind, cost in usage.costs.items()},
    )


def added(usages: Iterable[Usage]) -> list[Usage]:
    """One entry for each (model, tier), summed."""
    sums: dict[tuple[str, str], tuple[list[int], dict[str, int], dict[str, int]]] = {}
    for usage in usages:
        calls, units, costs = sums.setdefault((usage.model, usage.tier), ([0], {}, {}))
        calls[0] += usage.calls
        for into, amounts in ((units, usage.units), (costs, usage.costs)):
            for kind, amount in amounts.items():
                into[kind] = into.get(kind, 0) + amount
    return [Usage(model, tier, calls[0], units, costs) for (model, tier), (calls, units, costs) in sums.items()]
