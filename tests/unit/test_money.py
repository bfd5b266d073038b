"""Picodollars as texts."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.spend.money import PICOS, percent, shown, usd


@given(st.integers(-(10**30), 10**30))
def test_the_exact_text_is_the_amount(picos: int) -> None:
    assert Fraction(usd(picos)) * PICOS == picos
    assert 2 <= len(usd(picos).partition(".")[2]) <= 12


@pytest.mark.parametrize(
    ("picos", "said"),
    [
        (0, "$0.00"),
        (1, "$0.000000000001"),
        (120_000, "$0.00000012"),
        (5 * 10**9, "$0.005"),
        (9_999_999_999, "$0.01"),
        (15 * 10**9, "$0.02"),  # half to even
        (25 * 10**9, "$0.02"),
        (1_234 * PICOS + 567 * 10**9, "$1,234.57"),
        (-3 * PICOS, "-$3.00"),
        (10**6 * PICOS, "$1,000,000.00"),
    ],
)
def test_people_read_cents_and_little_is_not_nothing(picos: int, said: str) -> None:
    assert shown(picos) == said


@given(st.integers(-(10**30), 10**30))
def test_what_is_shown_is_near_the_amount(picos: int) -> None:
    off = abs(Fraction(shown(picos).replace("$", "").replace(",", "")) * PICOS - picos)
    assert off <= Fraction(PICOS, 200) and off <= Fraction(abs(picos), 2)


def test_percent_is_rounded_down() -> None:
    assert percent(99_999, 100_000) == "99.99"
    assert percent(1, 3) == "33.33"
    assert percent(-1, 3) == "-33.34"
    with pytest.raises(ValueError, match="above zero"):
        percent(1, 0)
