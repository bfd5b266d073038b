"""What a member normally spends: seasons, tails, gaps, and state that lives in a table."""

import numpy as np
import pytest

from streams.spend import baseline
from streams.spend.baseline import Setting, expected_picos, join, new_members, observe, split

DOLLAR = 10**12
SETTING = Setting()
NOTHING = np.zeros(1, dtype=np.int64)


def run(states: np.ndarray, first: int, dollars: np.ndarray, setting: Setting = SETTING) -> list[baseline.Evidence]:
    """One member's windows from number `first` on."""
    picos = np.rint(np.asarray(dollars) * DOLLAR).astype(np.int64)
    return [observe(states, np.array([first + i]), picos[i : i + 1], NOTHING, setting) for i in range(len(picos))]


def noisy(count: int, seed: int = 1, level: float = 10.0) -> np.ndarray:
    return level * np.exp(np.random.default_rng(seed).normal(0, 0.1, count))


def office(days: int, seed: int = 1) -> np.ndarray:
    """$20 in five minutes from 8 to 18, $2 at night."""
    hour = np.arange(days * 288) // 12 % 24
    return noisy(days * 288, seed, 1.0) * np.where((hour >= 8) & (hour < 18), 20.0, 2.0)


def test_nothing_is_improbable_before_the_member_is_known() -> None:
    evidence = run(new_members(1), 0, np.array([1.0] * 50 + [500.0]))
    assert not evidence[-1].sudden.any()


def test_a_tenfold_window_is_improbable_and_an_ordinary_one_is_not() -> None:
    states = new_members(1)
    ordinary = run(states, 0, noisy(500))
    assert np.mean([e.sudden[0, 0] > 7 for e in ordinary]) < 0.01
    (spike,) = run(states, 500, np.array([100.0]))
    assert spike.sudden[0, 0] > 7.75
    assert spike.sudden[0, 1] == 0  # not improbable downwards


def test_a_fall_is_a_surprise_downwards_only() -> None:
    states = new_members(1)
    run(states, 0, noisy(500))
    (fall,) = run(states, 500, np.array([0.5]))
    assert fall.sudden[0, 1] > 7.75
    assert fall.sudden[0, 0] == 0


def test_the_morning_is_expected_once_two_days_are_known() -> None:
    states = new_members(1)
    evidence = run(states, 0, office(5))
    third_morning = evidence[3 * 288 + 8 * 12]
    assert third_morning.known_season[0]
    assert third_morning.sudden[0, 0] < 7
    expected = expected_picos(evidence[4 * 288 + 12 * 12].expected, SETTING.unit_picos)[0]
    assert 15 * DOLLAR < expected < 25 * DOLLAR


def test_spend_at_night_as_by_day_is_improbable() -> None:
    states = new_members(1)
    run(states, 0, office(5))
    evidence = run(states, 5 * 288, np.full(24, 20.0))
    assert max(e.sudden[0, 0] for e in evidence[:2]) > 7.75


def test_the_weekend_is_known_after_one_week() -> None:
    states = new_members(1)
    dollars = office(9) * np.where(np.arange(9 * 288) // 288 % 7 >= 5, 0.2, 1.0)  # day 7 is a Monday again
    evidence = run(states, 0, dollars)
    monday_noon = evidence[7 * 288 + 12 * 12]
    expected = expected_picos(monday_noon.expected, SETTING.unit_picos)[0]
    assert expected > 12 * DOLLAR  # last Monday, not the days of the weekend


def test_growth_that_repeats_moves_what_is_expected() -> None:
    states = new_members(1)
    days = 21
    dollars = noisy(days * 288) * 1.02 ** (np.arange(days * 288) / 288)
    evidence = run(states, 0, dollars)
    expected = expected_picos(evidence[-1].expected, SETTING.unit_picos)[0]
    assert 0.85 < expected / (10 * DOLLAR * 1.02**days) < 1.15
    assert max(e.drifted[0] for e in evidence[-288:]) < 60


def test_a_slow_leak_adds_up_though_no_window_is_improbable() -> None:
    setting = Setting(window_seconds=3_600)
    states = new_members(1)
    run(states, 0, noisy(14 * 24), setting)
    evidence = run(states, 14 * 24, noisy(30, 2) * np.linspace(1.0, 2.0, 30), setting)
    assert max(e.drifted[0] for e in evidence) > 24


def test_bursts_that_repeat_stop_being_improbable() -> None:
    states = new_members(1)
    dollars = noisy(6 * 288)
    dollars[::36] *= 8  # every three hours
    surprise = [e.sudden[0, 0] for e in run(states, 0, dollars)]
    assert max(surprise[-288:]) < 7.75


def test_a_dearer_token_is_seen_through_noisy_volume() -> None:
    states = new_members(1)
    random = np.random.default_rng(3)
    tokens = np.rint(1e6 * np.exp(random.normal(0, 0.6, 400))).astype(np.int64)
    for i, count in enumerate(tokens):
        per_token = 2_000_000 if i < 399 else 5_000_000  # picodollars: $2, then $5 a million
        evidence = observe(states, np.array([i]), np.array([count * per_token]), np.array([count]), SETTING)
    assert evidence.dearer[0, 0] > 10
    assert evidence.sudden[0, 0] < 7


def test_missing_windows_are_not_zeros() -> None:
    states = new_members(1)
    run(states, 0, noisy(600))
    (back,) = run(states, 3_000, np.array([10.0]))
    assert back.sudden.max() < 7


def test_five_weeks_of_absence_leave_no_stale_season() -> None:
    states = new_members(1)
    run(states, 0, office(3))
    (back,) = run(states, 50 * 288, np.array([10.0]))
    assert not back.known_season[0]


def test_a_closed_window_is_judged_once() -> None:
    states = new_members(1)
    run(states, 0, np.array([1.0, 1.0]))
    with pytest.raises(ValueError, match="judged once"):
        run(states, 1, np.array([1.0]))


def test_credits_count_as_nothing_spent() -> None:
    states = new_members(1)
    run(states, 0, noisy(100))
    assert np.isfinite(run(states, 100, np.array([-5.0]))[0].surprise).all()


def test_members_do_not_touch_each_other_and_batches_do_not_matter() -> None:
    series = np.stack([office(3, seed) for seed in range(4)])
    picos = np.rint(series * DOLLAR).astype(np.int64)
    together, apart = new_members(4), new_members(4)
    for i in range(picos.shape[1]):
        windows, units = np.full(4, i), np.zeros(4, dtype=np.int64)
        observe(together, windows, picos[:, i], units, SETTING)
        for j in (3, 1, 0, 2):
            observe(apart[j : j + 1], windows[:1], picos[j : j + 1, i], units[:1], SETTING)
    assert together.tobytes() == apart.tobytes()


def test_state_survives_a_table_bit_by_bit() -> None:
    states = new_members(1)
    run(states, 0, office(3))
    restored = join(split(states), states.dtype)
    continued, kept = run(restored, 3 * 288, office(1, 9)), run(states, 3 * 288, office(1, 9))
    assert restored.tobytes() == states.tobytes()
    assert all((a.surprise == b.surprise).all() for a, b in zip(continued, kept, strict=True))


def test_state_is_small_and_of_another_length_it_is_refused() -> None:
    (value,) = split(new_members(1))
    assert len(value) < 2_500
    with pytest.raises(ValueError, match="rebuild"):
        join([value[:-1]], baseline.State)


def test_a_whole_number_of_picodollars_comes_back_for_any_expectation() -> None:
    expected = expected_picos(np.array([0.0, np.log1p(100.0), 80.0]), 10**10)
    assert expected.dtype == np.int64
    assert expected[0] == 0
    assert abs(int(expected[1]) - DOLLAR) < 10
    assert expected[2] > 0  # bounded, never wrapped
