"""Trends: exact change, robust slope, honest significance, and a ranking that pennies do not lead."""

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.spend.trend import measure, rank, significance, slope


def picos(dollars: str) -> int:
    return int(Decimal(dollars) * 10**12)


def test_the_change_is_against_the_stretch_before() -> None:
    trend = measure("acme", [picos("1")] * 7 + [picos("1.50")] * 7, 7)
    assert (trend.previous, trend.current, trend.change) == (picos("7"), picos("10.50"), picos("3.50"))
    assert trend.ratio == Fraction(1, 2)


def test_days_that_are_not_known_count_as_nothing_spent() -> None:
    trend = measure("new", [picos("5"), picos("5")], 7)
    assert (trend.previous, trend.current, trend.ratio) == (0, picos("10"), None)
    with pytest.raises(ValueError, match="at least one day"):
        measure("new", [], 0)


def test_the_slope_is_that_of_both_stretches_and_of_known_days_alone() -> None:
    rising = [10 + day for day in range(28)]
    assert measure("acme", [0] * 30 + rising, 14).slope == 1
    assert measure("acme", rising, 14).p_value == significance(rising) < 0.001
    assert measure("acme", rising[:20], 14).slope == 1  # six days before the range, none of them made up


def test_the_slope_is_exact_and_one_wild_day_does_not_bend_it() -> None:
    assert slope([10, 13, 16, 19]) == 3
    assert slope([10, 13, 10**15, 19, 22, 25, 28]) == 3
    assert slope([5]) == slope([]) == 0


def test_a_steady_rise_is_significant_and_noise_is_not() -> None:
    assert significance(list(range(14))) < 0.001
    noise = random.Random(4)
    calls = [significance([noise.randrange(10**6) for _ in range(14)]) for _ in range(300)]
    assert sum(p < 0.05 for p in calls) / 300 < 0.09


def test_kendalls_test_gives_the_value_worked_out_by_hand() -> None:
    # 1 2 3 4 5: score 10, variance 5*4*15/18 = 50/3, z = 9/4.0825 = 2.2045, p = 0.0275
    assert significance([1, 2, 3, 4, 5]) == pytest.approx(0.0275, abs=1e-4)


def test_too_few_days_and_days_all_alike_say_nothing() -> None:
    assert significance([1, 2, 3]) == significance([7] * 30) == 1.0


def test_a_weekend_is_no_trend() -> None:
    weeks = [100, 100, 100, 100, 100, 5, 5] * 4
    assert slope(weeks) == 0
    assert significance(weeks) == 1.0


def test_growth_shows_through_weekends() -> None:
    weeks = [(1_000 if day % 7 < 5 else 50) + 10 * day for day in range(28)]
    assert slope(weeks) == 10
    assert significance(weeks) < 0.001


@given(st.lists(st.integers(0, 10**15), max_size=40))
def test_turning_time_round_turns_the_slope(values: list[int]) -> None:
    assert slope(values[::-1]) == -slope(values)
    assert significance(values[::-1]) == pytest.approx(significance(values))


def test_pennies_do_not_lead_the_ranking() -> None:
    pennies = measure("pennies", [picos("0.01")] * 7 + [picos("0.10")] * 7, 7)  # +900 %, 63 cents
    acme = measure("acme", [picos("100")] * 7 + [picos("150")] * 7, 7)  # +50 %
    globex = measure("globex", [picos("100")] * 7 + [picos("180")] * 7, 7)  # +80 %
    initech = measure("initech", [picos("100")] * 7 + [picos("40")] * 7, 7)  # -60 %
    hooli = measure("hooli", [0] * 7 + [picos("20")] * 7, 7)  # was not there
    rising, falling = rank([pennies, acme, globex, initech, hooli], picos("5"))
    assert [trend.member for trend in rising] == ["hooli", "globex", "acme"]
    assert [trend.member for trend in falling] == ["initech"]
