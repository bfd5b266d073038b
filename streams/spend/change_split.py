"""Why did it change? The exact split of a change of spend into its causes, and who explains an excess. Pure.

All of it is rational arithmetic on integers; the parts are whole picodollars and sum to the change.

The split is a sequential substitution: starting from the baseline, one cause after another takes its actual value, and
what the total moves by is that cause's part. The order, volume, model mix, tier mix, tokens per call, cache, price, is
the usual one of price-volume-mix analysis: quantities first at old prices, price last at actual quantities. Another
order would attribute the joint effects otherwise; this one is fixed, so that two alerts can be compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

CAUSES = ("volume", "model_mix", "tier_mix", "tokens_per_call", "cache", "price")
PROMPT = ("input", "cache_read", "cache_write")  # kinds between which caching moves the prompt's tokens
_WHOLE = 1_000_000


@dataclass(frozen=True)
class Usage:
    """What one model on one service tier used in a period.

    `units` are amounts by kind (tokens, or what else the kind is billed by), `costs` picodollars by kind. A kind that
    costs something without an amount in either period is taken to be billed by the call. Costs without calls
    (corrections) change as prices do.
    """

    model: str
    tier: str
    calls: int
    units: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost(self) -> int:
        return sum(self.costs.values())


@dataclass(frozen=True)
class Split:
    """Parts of `change` in picodollars by cause; they sum to it exactly."""

    change: int
    parts: dict[str, int]


@dataclass(frozen=True)
class Share:
    """A member of another dimension and its part of an excess, picodollars.

    `share_ppm` is the part of the excess, in millionths (over a million when others fell); `lift_ppm` how much larger
    that is than its part of what was expected: a member that always spends everything explains nothing.
    """

    dimension: str
    member: str
    expected: int
    actual: int
    share_ppm: int
    lift_ppm: int

    @property
    def excess(self) -> int:
        return self.actual - self.expected


def split_change(baseline: Sequence[Usage], actual: Sequence[Usage], expected: int | None = None) -> Split:
    """Split the change between two periods.

    Args:
        baseline, actual: one entry for each (model, tier).
        expected: spend to compare with, picodollars, when the baseline period stands for another length or level: the
            baseline's usage is scaled to it. None: the baseline as it is.

    Raises:
        ValueError: a (model, tier) occurs twice in one period, or a count is negative.
    """
    before, after = _by_group(baseline), _by_group(actual)
    was = sum(usage.cost for usage in baseline)
    uncalled = sum(usage.cost for usage in baseline if not usage.calls)
    target = was if expected is None else expected
    change = sum(usage.cost for usage in actual) - target
    calls_before, calls_after = sum(u.calls for u in baseline), sum(u.calls for u in actual)
    if not calls_before or not calls_after or was == uncalled:
        return Split(change, {cause: change if cause == "volume" else 0 for cause in CAUSES})  # nothing to compare with
    groups = {
        key: _Group(before.get(key), after.get(key), calls_before, calls_after) for key in sorted(before.keys() | after)
    }
    shares = _tier_shares_kept(groups)
    steps = [
        Fraction((was - uncalled) * calls_after, calls_before),
        calls_after * _total(shares[key] * group.cost_before for key, group in groups.items()),
        _total(group.calls_after * group.cost_before for group in groups.values()),
        _total(group.cost_with_tokens for group in groups.values()),
        _total(group.cost_with_cache for group in groups.values()),
    ]
    totals = [Fraction(target), *(step + uncalled for step in steps), Fraction(target + change)]
    moves = [later - earlier for earlier, later in pairwise(totals)]
    return Split(change, dict(zip(CAUSES, round_to_sum(moves, change), strict=True)))


def round_to_sum(parts: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers near the parts that sum to `total`, which is their exact sum: largest remainders first.

    Raises:
        ValueError: the parts do not sum to the total.
    """
    if sum(parts) != total:
        raise ValueError("the parts do not sum to the total")
    floors = [part.numerator // part.denominator for part in parts]
    missing = total - sum(floors)
    by_remainder = sorted(range(len(parts)), key=lambda i: (floors[i] - parts[i], i))
    for i in by_remainder[:missing]:
        floors[i] += 1
    return floors


def explain(
    excess: int, members: Iterable[tuple[str, str, int, int]], least_ppm: int = 50_000, count: int = 5
) -> list[Share]:
    """Members of other dimensions that explain an excess, the most telling first.

    Args:
        excess: picodollars, above zero.
        members: (dimension, member, expected, actual), all members of each dimension offered.
        least_ppm: members with a smaller part of the excess are left out.
        count: at most so many.

    Raises:
        ValueError: the excess is not above zero.
    """
    if excess <= 0:
        raise ValueError("only an excess above zero can be explained")
    rows = list(members)
    totals: dict[str, int] = {}
    for dimension, _, expected, _ in rows:
        totals[dimension] = totals.get(dimension, 0) + expected
    shares = []
    for dimension, member, expected, now in rows:
        part = (now - expected) * _WHOLE // excess
        usual = expected * _WHOLE // totals[dimension] if totals[dimension] > 0 else 0
        shares.append(Share(dimension, member, expected, now, part, part - usual))
    telling = [share for share in shares if share.share_ppm >= least_ppm]
    return sorted(telling, key=lambda s: (-s.lift_ppm, -s.share_ppm, s.dimension, s.member))[:count]


class _Group:
    """One (model, tier) in both periods, with rational costs of the steps between them.

    A group that is missing on one side takes the other side's cost of a call, so its coming or going is mix alone.
    """

    def __init__(self, before: Usage | None, after: Usage | None, calls_before: int, calls_after: int) -> None:
        self.share_before = Fraction(before.calls if before else 0, calls_before)
        self.calls_after = after.calls if after else 0
        self.share_after = Fraction(self.calls_after, calls_after)
        sides = [side for side in (before, after) if side is not None]
        called = [side for side in sides if side.calls] or sides
        old, new = called[0], called[-1]
        self.cost_before = Fraction(old.cost, old.calls) if old.calls else Fraction(0)
        self.cost_with_tokens, self.cost_with_cache = self._steps(old, new)

    def _steps(self, old: Usage, new: Usage) -> tuple[Fraction, Fraction]:
        """Cost of the actual calls with the actual tokens a call, then with the actual cache too, at old prices."""
        if not old.calls or not new.calls:
            return Fraction(0), Fraction(0)
        kinds = sorted({*old.units, *new.units, *old.costs, *new.costs})
        a_call_old, a_call_new, price = {}, {}, {}
        for kind in kinds:
            units_old, units_new = _units(old, kind, new), _units(new, kind, old)
            a_call_old[kind], a_call_new[kind] = Fraction(units_old, old.calls), Fraction(units_new, new.calls)
            priced = old if units_old else new
            amount = units_old or units_new
            price[kind] = Fraction(priced.costs.get(kind, 0), amount) if amount else Fraction(0)
        prompt_old = _total(a_call_old[kind] for kind in kinds if kind in PROMPT)
        prompt_new = _total(a_call_new[kind] for kind in kinds if kind in PROMPT)
        tokens = cache = Fraction(0)
        for kind in kinds:
            cached = a_call_new[kind] * price[kind]
            kept = a_call_old[kind] * prompt_new / prompt_old * price[kind] if kind in PROMPT and prompt_old else cached
            tokens, cache = tokens + kept, cache + cached
        return self.calls_after * tokens, self.calls_after * cache


def _units(usage: Usage, kind: str, other: Usage) -> int:
    """Amount of a kind; calls where a kind costs something without an amount in either period."""
    by_call = any(side.costs.get(kind, 0) and not side.units.get(kind, 0) for side in (usage, other))
    return usage.calls if by_call else usage.units.get(kind, 0)


def _total(parts: Iterable[Fraction]) -> Fraction:
    return sum(parts, Fraction(0))


def _tier_shares_kept(groups: Mapping[tuple[str, str], _Group]) -> dict[tuple[str, str], Fraction]:
    """Each group's share of the calls if models had their actual shares and each its baseline tiers."""
    old: dict[str, Fraction] = {}
    new: dict[str, Fraction] = {}
    for (model, _), group in groups.items():
        old[model] = old.get(model, Fraction(0)) + group.share_before
        new[model] = new.get(model, Fraction(0)) + group.share_after
    return {
        key: group.share_before * new[key[0]] / old[key[0]] if old[key[0]] else group.share_after
        for key, group in groups.items()
    }


def _by_group(usages: Sequence[Usage]) -> dict[tuple[str, str], Usage]:
    groups: dict[tuple[str, str], Usage] = {}
    for usage in usages:
        if (usage.model, usage.tier) in groups:
            raise ValueError(f"{usage.model} on tier {usage.tier} occurs twice in one period")
        if usage.calls < 0 or any(amount < 0 for amount in usage.units.values()):
            raise ValueError(f"{usage.model} on tier {usage.tier} has a negative count")
        groups[usage.model, usage.tier] = usage
    return groups
