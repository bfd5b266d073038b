"""The month's end with bands, time to breach, and what a back-test says of the bands."""

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import forecast as benchmark
from streams.spend.forecast import backtest, forecast, learn, seconds_to_breach


def picos(dollars: str) -> int:
    return int(Decimal(dollars) * 10**12)


WEEK = [100, 100, 100, 100, 100, 20, 20]


def noisy(days: int, seed: int, growth: str = "1") -> list[int]:
    draw = random.Random(seed)
    level, made = Decimal(1), []
    for day in range(days):
        level *= Decimal(growth)
        made.append(int(picos("1") * level * WEEK[day % 7] * Decimal(draw.lognormvariate(0, 0.2))))
    return made


def test_a_perfectly_weekly_spend_is_forecast_to_the_millionth() -> None:
    daily = [picos(str(dollars)) for dollars in WEEK * 8]
    made = forecast(learn(daily, 9), spent=picos("50"))
    end = picos("50") + picos("540") + picos("200")  # a week, a Monday and a Tuesday
    assert made.p50[-1] == pytest.approx(end, rel=1e-6)  # factors are millionths
    assert made.p90[-1] == pytest.approx(end, rel=1e-6)
    assert made.p50[5] == pytest.approx(picos("50") + 5 * picos("100") + picos("20"), rel=1e-6)  # a cheap Saturday


def test_the_part_of_today_that_has_passed_is_not_forecast_again() -> None:
    daily = [picos("24")] * 56
    made = forecast(learn(daily, 1), spent=picos("30"), today=picos("18"), elapsed_ppm=750_000)
    assert made.p50 == (picos("36"),)


def test_the_first_day_ever_is_carried_on() -> None:
    made = forecast(learn([], 3), spent=picos("6"), today=picos("6"), elapsed_ppm=500_000)
    assert made.p50 == (picos("12"), picos("24"), picos("36"))
    assert made.p90[-1] > made.p50[-1]
    assert made.trials == 0


def test_nothing_spent_ever_forecasts_nothing() -> None:
    assert forecast(learn([], 5), spent=0).p90 == (0,) * 5


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least today"):
        learn([1], 0)
    with pytest.raises(ValueError, match="passed part"):
        forecast(learn([1], 1), 0, 0, 1_000_001)
    with pytest.raises(ValueError, match="needs 58 days"):
        backtest([1] * 57)


@given(st.lists(st.integers(0, 10**15), max_size=70), st.integers(1, 31), st.integers(0, 10**15), st.integers(0, 10**6))
def test_bands_never_fall_never_cross_and_are_whole(daily: list[int], left: int, spent: int, elapsed: int) -> None:
    made = forecast(learn(daily, left), spent, 0, elapsed)
    assert len(made.p50) == len(made.p90) == left
    assert list(made.p50) == sorted(made.p50)
    assert list(made.p90) == sorted(made.p90)
    assert all(spent <= half <= most for half, most in zip(made.p50, made.p90, strict=True))
    assert all(type(value) is int for value in (*made.p50, *made.p90))


def test_a_limit_is_reached_on_the_day_and_hour_the_path_crosses_it() -> None:
    path = (picos("10"), picos("34"), picos("58"))
    assert seconds_to_breach(path, picos("4"), picos("7"), 3_600) == 1_800  # half of what is left of today
    assert seconds_to_breach(path, picos("4"), picos("22"), 3_600) == 3_600 + 43_200
    assert seconds_to_breach(path, picos("4"), picos("4"), 3_600) == 0
    assert seconds_to_breach(path, picos("4"), picos("59"), 3_600) is None


def test_the_bands_hold_about_as_often_as_they_say() -> None:
    total = half = most = 0
    for seed in range(4):
        coverage = backtest(noisy(120, seed, "1.002"))
        total, half, most = total + coverage.forecasts, half + coverage.below_p50, most + coverage.below_p90
        assert coverage.error_ppm < 150_000
    assert 0.3 < half / total < 0.7
    assert most / total > 0.8


def test_the_back_test_on_sample_traffic_counts_every_call_once_and_every_forecast() -> None:
    sums = benchmark.daily_sums(seed=1, days=70, events=150)
    assert sums == benchmark.daily_sums(seed=1, days=70, events=150)
    days = sums["global"][""]
    assert len(days) == 70 and min(days) > 0
    for dimension in ("workload", "customer"):
        assert [sum(each) for each in zip(*sums[dimension].values(), strict=True)] == days
    made = [benchmark.coverage(sums["global"].values(), left)[0] for left in benchmark.LEFT]
    assert [each.forecasts for each in made] == [10, 10, 10]  # one period of 30 days after 28
    whole = backtest(days, 30, 28)
    assert sum(each.below_p90 for each in made) == whole.below_p90 >= whole.below_p50 > 0
