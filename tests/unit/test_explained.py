"""The explanation of an anomaly from raw sums: whatever they are, it adds up to the alert's figures."""

from decimal import Decimal

from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from streams.explain_change import days_before
from streams.spend.change_split import CAUSES, Usage, split_change
from streams.spend.explained import MOST_SHARES, MemberCosts, excluded, rank_members, split_excess, weights


def picos(dollars: str) -> int:
    return int(Decimal(dollars) * 10**12)


def calls(number: int, dollars: str, model: str = "big", tokens: int = 1_000) -> Usage:
    return Usage(model, "standard", number, {"input": number * tokens}, {"input": picos(dollars)})


def member(dimension: str, name: str, actual: str, *past: str, key: str = "") -> MemberCosts:
    return MemberCosts(dimension, key, name, picos(actual), tuple(map(picos, past)))


def test_the_past_tells_the_mix_and_the_expectation_the_level() -> None:
    split, _ = split_excess([calls(30, "30")], [[calls(10, "10")], [calls(10, "10")]], picos("12"), picos("30"))
    assert split is not None
    assert split.parts == {cause: picos("18") if cause == "volume" else 0 for cause in CAUSES}


def test_an_incident_that_counts_only_some_of_its_windows_is_split_to_their_sum() -> None:
    # the rows are of $40, of which windows of $36 were above the expected $12: dearer by half, the rest is volume
    split, _ = split_excess([calls(20, "40")], [[calls(10, "10")]], picos("12"), picos("36"))
    assert split is not None
    assert (split.parts["volume"], split.parts["price"]) == (picos("6"), picos("18"))
    assert sum(split.parts.values()) == split.change == picos("24")


def test_where_the_rows_are_what_was_counted_it_is_the_plain_split() -> None:
    past, rows = [calls(10, "10"), calls(10, "5", "small")], [calls(15, "20"), calls(10, "9", "small", 2_000)]
    split, _ = split_excess(rows, [past], picos("11"), picos("29"))
    assert split == split_change(past, rows, picos("11"))


def test_a_runaway_of_yesterday_is_not_what_is_usual_today() -> None:
    usual, runaway = [calls(10, "1", "small")], [calls(1_000, "1000", "big")]
    split, weighed = split_excess([calls(40, "40", "big")], [runaway, usual, usual], picos("1"), picos("40"))
    assert weighed == [1_000, 1_000_000, 1_000_000]  # a thousandth of yesterday: as much as another day
    assert split is not None and split.parts["model_mix"] > picos("10")


def test_without_anything_to_compare_there_is_no_split() -> None:
    assert split_excess([], [[calls(1, "1")]], picos("1"), picos("2"))[0] is None
    assert split_excess([calls(1, "2")], [[], []], picos("1"), picos("2"))[0] is None
    assert split_excess([calls(1, "0")], [[calls(1, "1")]], picos("1"), picos("2"))[0] is None


def test_a_member_that_was_never_there_has_come_as_volume() -> None:
    split, _ = split_excess([calls(1, "2")], [[]], 0, picos("2"))
    assert split is not None and split.parts["volume"] == picos("2")


def test_thousands_of_models_are_a_few_hundred_and_the_sum_is_the_same() -> None:
    rows = [calls(n, "1", f"m{n}") for n in range(1, 3_000)] + [calls(10, "9000", "big")]
    past = [calls(n + 1, "1", f"m{n}") for n in range(1, 3_000)] + [calls(10, "1000", "big")]
    split, _ = split_excess(rows, [past], sum(u.cost for u in past), sum(u.cost for u in rows))
    assert split is not None and sum(split.parts.values()) == picos("8000")
    assert split.parts["price"] > picos("7999")


def test_no_stretch_counts_for_more_than_the_median_of_those_that_spent() -> None:
    assert weights([4, 2, 8, 0, 4]) == [1_000_000, 1_000_000, 500_000, 1_000_000, 1_000_000]
    assert weights([0, 0]) == [1_000_000, 1_000_000]
    assert weights([]) == []


TOTAL = member("global", "", "100", "20", "20")


def test_who_makes_up_more_of_the_excess_than_of_the_usual_spend_leads() -> None:
    shares = rank_members(
        TOTAL,
        [
            member("customer", "acme", "82", "2", "2"),
            member("customer", "globex", "18", "18", "18"),
            member("environment", "production", "100", "20", "20"),
            member("team", "", "100", "20", "20"),
        ],
        [1_000_000, 1_000_000],
        expected=picos("20"),
        actual=picos("100"),
    )
    assert [(share.dimension, share.member, share.share_ppm) for share in shares] == [
        ("customer", "acme", 1_000_000),
        ("environment", "production", 1_000_000),  # all of it, as always
    ]
    assert (shares[0].expected, shares[0].actual) == (picos("2"), picos("82"))


def test_members_are_scaled_to_the_alerts_figures() -> None:
    [acme] = rank_members(
        TOTAL,
        [member("customer", "acme", "50", "5", "5")],
        [1_000_000, 1_000_000],
        expected=picos("10"),
        actual=picos("50"),
    )
    assert (acme.expected, acme.actual) == (picos("2.50"), picos("25"))


def test_calls_without_a_tag_are_members_too_and_are_not_told() -> None:
    rows = [
        member("tag", "season=winter", "90", "10", "10", key="season"),
        member("tag", "tier=gold", "10", "10", "10", key="tier"),
    ]
    [winter] = rank_members(TOTAL, rows, [1_000_000, 1_000_000], expected=picos("20"), actual=picos("100"))
    assert (winter.dimension, winter.member) == ("tag", "season=winter")
    assert winter.lift_ppm == 500_000  # all of the excess, half of the usual spend: the other half has no season


def test_calls_without_a_customer_lead_when_they_are_the_excess() -> None:
    rows = [member("customer", "", "90", "10", "10"), member("customer", "acme", "10", "10", "10")]
    shares = rank_members(TOTAL, rows, [1_000_000, 1_000_000], expected=picos("20"), actual=picos("100"))
    assert [share.member for share in shares] == [""]


def test_less_than_expected_and_a_past_of_nothing_have_no_shares() -> None:
    rows = [member("customer", "acme", "100", "20", "20")]
    assert rank_members(TOTAL, rows, [1, 1], expected=picos("100"), actual=picos("100")) == ()
    assert rank_members(member("global", "", "100"), [member("customer", "acme", "100")], [], 1, picos("100")) == ()


def test_a_members_own_dimension_and_its_tags_key_explain_nothing() -> None:
    assert excluded("customer", "acme", member("customer", "acme", "1"))
    assert excluded("tag", "season=winter", member("tag", "season=summer", "1", key="season"))
    assert not excluded("tag", "season=winter", member("tag", "tier=gold", "1", key="tier"))
    assert not excluded("global", "", member("tag", "tier=gold", "1", key="tier"))


def test_the_days_before_never_reach_into_the_incident() -> None:
    assert days_before((864_000, 864_300), 100) == [(864_000 - n * 86_400, 864_300 - n * 86_400) for n in range(1, 8)]
    assert days_before((864_000, 864_000 + 86_401), 100) == [
        (864_000 - n * 172_800, 950_401 - n * 172_800) for n in (1, 2, 3)
    ]
    assert len(days_before((864_000, 864_300), 2)) == 2
    assert len(days_before((864_000, 864_300), 0)) == 1


KINDS = ("input", "cache_read", "output", "quantities")
amounts = st.fixed_dictionaries({kind: st.integers(0, 10**9) for kind in KINDS})
costs = st.fixed_dictionaries({kind: st.integers(-(10**6), 10**15) for kind in KINDS})


@st.composite
def stretches(draw: st.DrawFn) -> list[Usage]:
    groups = draw(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), unique=True, max_size=5))
    return [Usage(m, t, draw(st.integers(1, 10**6)), draw(amounts), draw(costs)) for m, t in groups]


@budget(deadline=None)
@given(stretches(), st.lists(stretches(), max_size=7), st.integers(0, 10**16), st.integers(1, 10**16))
def test_the_parts_sum_to_the_excess_to_the_picodollar(
    rows: list[Usage], past: list[list[Usage]], expected: int, actual: int
) -> None:
    split, weighed = split_excess(rows, past, expected, actual)
    assert all(0 <= weight <= 1_000_000 for weight in weighed)
    if split is not None:
        assert split.change == actual - expected
        assert sum(split.parts.values()) == split.change
        assert all(isinstance(part, int) for part in split.parts.values())
    else:
        assert sum(usage.cost for usage in rows) <= 0 or expected > 0


some_costs = st.tuples(st.integers(0, 10**15), st.tuples(st.integers(0, 10**15), st.integers(0, 10**15)))


@given(st.lists(some_costs, min_size=1, max_size=20), st.integers(0, 10**15), st.integers(1, 10**16))
def test_the_members_of_a_dimension_sum_to_the_alerts_figures(
    drawn: list[tuple[int, tuple[int, int]]], expected: int, excess: int
) -> None:
    members = [MemberCosts("customer", "", f"c{n}", now, past) for n, (now, past) in enumerate(drawn)]
    total = MemberCosts(
        "global", "", "", sum(now for now, _ in drawn), tuple(sum(past[day] for _, past in drawn) for day in (0, 1))
    )
    shares = rank_members(total, members, [1_000_000, 500_000], expected, expected + excess)
    assert len(shares) <= MOST_SHARES
    assert sum(share.expected for share in shares) <= expected
    assert sum(share.actual for share in shares) <= expected + excess
    assert list(shares) == sorted(shares, key=lambda s: -s.lift_ppm)
    if len(members) <= 1 and shares:
        assert (shares[0].expected, shares[0].actual) == (expected, expected + excess)
