"""Why spend changed: parts that sum to the picodollar, and who explains an excess."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from streams.spend.change_split import CAUSES, Usage, explain, round_to_sum, split_change


def picos(dollars: str) -> int:
    return int(Decimal(dollars) * 10**12)


def usage(model: str = "big", tier: str = "standard", calls: int = 100, **kinds: tuple[int, str]) -> Usage:
    return Usage(
        model,
        tier,
        calls,
        {k: units for k, (units, _) in kinds.items()},
        {k: picos(cost) for k, (_, cost) in kinds.items()},
    )


def only(cause: str, dollars: str) -> dict[str, int]:
    return {name: picos(dollars) if name == cause else 0 for name in CAUSES}


BASE = usage(input=(1_000_000, "3"), output=(100_000, "1.50"))


def test_twice_the_calls_is_all_volume() -> None:
    doubled = usage(calls=200, input=(2_000_000, "6"), output=(200_000, "3"))
    assert split_change([BASE], [doubled]).parts == only("volume", "4.50")


def test_longer_answers_are_tokens_per_call() -> None:
    longer = usage(input=(1_000_000, "3"), output=(300_000, "4.50"))
    assert split_change([BASE], [longer]).parts == only("tokens_per_call", "3")


def test_a_dearer_token_is_price() -> None:
    dearer = usage(input=(1_000_000, "6"), output=(100_000, "3"))
    assert split_change([BASE], [dearer]).parts == only("price", "4.50")


def test_lost_cache_hits_are_cache() -> None:
    hits = usage(input=(200_000, "0.60"), cache_read=(800_000, "0.24"))
    misses = usage(input=(1_000_000, "3"))
    assert split_change([hits], [misses]).parts == only("cache", "2.16")


def test_another_model_is_mix_though_it_was_never_used_before() -> None:
    small, big = usage("small", input=(1_000_000, "1")), usage("big", input=(1_000_000, "10"))
    assert split_change([small], [big]).parts == only("model_mix", "9")


def test_another_tier_of_the_same_model_is_tier_mix() -> None:
    batch, standard = usage(tier="batch", input=(1_000_000, "1.50")), usage(input=(1_000_000, "3"))
    assert split_change([batch], [standard]).parts == only("tier_mix", "1.50")


def test_what_is_billed_without_an_amount_is_billed_by_the_call() -> None:
    searches, more = usage(calls=10, quantities=(0, "0.10")), usage(calls=30, quantities=(0, "0.30"))
    assert split_change([searches], [more]).parts == only("volume", "0.20")


def test_from_nothing_and_to_nothing_is_volume() -> None:
    assert split_change([], [BASE]).parts == only("volume", "4.50")
    assert split_change([BASE], []).parts == only("volume", "-4.50")


def test_a_correction_without_calls_is_price() -> None:
    correction = Usage("big", "correction", 0, {}, {"input": picos("-0.75")})
    assert split_change([BASE], [BASE, correction]).parts == only("price", "-0.75")


def test_an_expectation_of_another_level_scales_the_baseline() -> None:
    split = split_change([BASE], [usage(input=(1_000_000, "6"), output=(100_000, "3"))], expected=picos("2.25"))
    assert split.change == picos("9") - picos("2.25")
    assert split.parts["volume"] == picos("2.25")  # half the calls were expected
    assert split.parts["price"] == picos("4.50")


def test_two_rows_for_one_model_and_tier_are_refused() -> None:
    with pytest.raises(ValueError, match="big on tier standard occurs twice"):
        split_change([BASE, BASE], [BASE])
    with pytest.raises(ValueError, match="negative count"):
        split_change([Usage("big", "standard", -1)], [BASE])


KINDS = ("input", "cache_read", "output", "quantities")
amounts = st.fixed_dictionaries({kind: st.integers(0, 10**9) for kind in KINDS})
costs = st.fixed_dictionaries({kind: st.integers(-(10**6), 10**15) for kind in KINDS})


@st.composite
def periods(draw: st.DrawFn) -> list[Usage]:
    groups = draw(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), unique=True, max_size=5))
    return [Usage(m, t, draw(st.integers(0, 10**6)), draw(amounts), draw(costs)) for m, t in groups]


@budget(deadline=None)
@given(periods(), periods(), st.none() | st.integers(0, 10**15))
def test_the_parts_sum_to_the_change_to_the_picodollar(
    before: list[Usage], after: list[Usage], expected: int | None
) -> None:
    split = split_change(before, after, expected)
    was = sum(u.cost for u in before) if expected is None else expected
    assert split.change == sum(u.cost for u in after) - was
    assert sum(split.parts.values()) == split.change
    assert all(isinstance(part, int) for part in split.parts.values())


@given(periods())
def test_no_change_has_no_parts(period: list[Usage]) -> None:
    assert not any(split_change(period, period).parts.values())


@budget(deadline=None)
@given(periods(), periods(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(before: list[Usage], after: list[Usage], random: object) -> None:
    shuffled = list(before)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split_change(shuffled, after[::-1]) == split_change(before, after)


def test_rounding_gives_the_missing_units_to_the_largest_remainders() -> None:
    assert round_to_sum([Fraction(1, 3), Fraction(2, 3), Fraction(-1)], 0) == [0, 1, -1]
    assert round_to_sum([Fraction(1, 2), Fraction(1, 2)], 1) == [1, 0]
    with pytest.raises(ValueError, match="do not sum"):
        round_to_sum([Fraction(1, 3)], 1)


def test_the_member_that_explains_an_excess_leads_and_one_that_always_spends_all_does_not() -> None:
    rows = [
        ("environment", "production", picos("100"), picos("190")),
        ("customer", "acme", picos("10"), picos("95")),
        ("customer", "globex", picos("90"), picos("95")),
        ("workload", "chat", picos("50"), picos("140")),
        ("workload", "search", picos("50"), picos("50")),
    ]
    ranked = explain(picos("90"), rows)
    assert [(s.dimension, s.member) for s in ranked] == [
        ("customer", "acme"),  # 94 % of the excess, 10 % of what was expected
        ("workload", "chat"),  # all of it, half of what was expected
        ("environment", "production"),  # all of it, as always
        ("customer", "globex"),
    ]
    assert ranked[0].excess == picos("85")
    assert ranked[0].share_ppm == 85_000_000 // 90


def test_small_parts_and_falls_are_left_out_and_an_excess_must_be_one() -> None:
    rows = [("team", "a", 0, 1_000), ("team", "b", 500, 0), ("team", "c", 0, 10)]
    assert [share.member for share in explain(1_000, rows)] == ["a"]
    with pytest.raises(ValueError, match="above zero"):
        explain(0, rows)
