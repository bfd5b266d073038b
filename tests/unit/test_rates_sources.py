"""Own rates as a YAML file and as JSON on spend.rates: what is refused, in one line that names the field."""

from decimal import Decimal as D
from pathlib import Path

import pytest
from priced_call import MTOK, cost

from streams.errors import SpendError
from streams.rate_sources import parse_rate, rate_json, read_rates_file
from streams.spend.rates import default_table

FILE = """
# what we negotiated
- id: openai-deal
  provider: openai
  model: gpt-5*
  effective_from: 2026-01-01
  effective_to: 2027-01-01T00:00:00+01:00
  per_million_tokens:
    input: {base: "1.00", over: {272000: "2.00"}}
    output: "8"
- id: gpu
  provider: lambda
  per_unit: {gpu_second: "0.0011"}
- {id: globex, customer: globex, markup_percent: 15}
"""


def test_a_file_of_rates(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(FILE)
    rates = read_rates_file(path)
    assert [rate.id for rate in rates] == ["openai-deal", "gpu", "globex"]
    assert rates[0].effective_to is not None
    assert rates[0].effective_to.isoformat() == "2026-12-31T23:00:00+00:00"
    table = default_table(rates)
    assert cost("openai", "gpt-5.2", table=table, input_tokens=1_000) == 1_000 * D("1.00") / MTOK
    assert cost("openai", "gpt-5.2", table=table, input_tokens=272_001) == 272_001 * D("2.00") / MTOK


def test_the_list_may_stand_under_rates_and_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text("rates:\n- {id: a, discount_percent: 1}\n")
    assert [rate.id for rate in read_rates_file(path)] == ["a"]
    path.write_text("# nothing yet\n")
    assert read_rates_file(path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- {id: a, discont_percent: 5}",
            r"rate 1 \(a\): there is no field 'discont_percent'; the fields are contract",
        ),
        ("- {id: a, per_unit: {x: 0.5}}", r"per_unit.x.base: write the number 0.5 in quotes"),
        ("- {id: a, per_unit: {x: '-1'}}", "must lie between 0 and"),
        ("- {id: a, per_unit: {x: dear}}", "'dear' is not a decimal number"),
        ("- {id: a, per_million_tokens: {inputs: '1'}}", "'inputs' is not a bucket of tokens; the buckets are input,"),
        (
            "- {id: a, per_million_tokens: {input: {base: '1', above: {5: '2'}}}}",
            "no field 'per_million_tokens.input.above'",
        ),
        ("- {id: a, discount_percent: 101}", "discount_percent must not be above 100"),
        ("- {id: a, discount_percent: 1, markup_percent: 1}", "give either prices"),
        ("- {id: a}", "give either prices"),
        ("- {discount_percent: 1}", "rate 1: id: Field required"),
        ("- {id: a, discount_percent: 1, service_tier: turbo}", "service_tier: Input should be 'standard', 'batch'"),
        ("- {id: a, discount_percent: 1, effective_from: 2026-02-01, effective_to: 2026-01-01}", "must be later"),
        ("- {id: a, discount_percent: 1, effective_from: soon}", "effective_from"),
        (
            "- {id: a, discount_percent: 1, windows: [{start: '10:00', end: '09:00'}]}",
            "write two windows across midnight",
        ),
        ("{id: a}", "must hold a list of rates"),
        ("- just text", "rate 1: Input should be a valid dictionary"),
        ("- [", "is not YAML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(text)
    with pytest.raises(SpendError, match=message) as caught:
        read_rates_file(path)
    assert str(caught.value).startswith("SPEND_RATES_FILE: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpendError, match=r"SPEND_RATES_FILE: cannot read .*No such file"):
        read_rates_file(tmp_path / "rates.yaml")


def test_a_rate_of_the_topic_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(
        FILE + "- {id: night, windows: [{days: [sat], start: '22:00', end: '00:00'}], discount_percent: '7.5'}\n"
    )
    rates = read_rates_file(path)
    assert [parse_rate(rate_json(rate)) for rate in rates] == rates
    assert default_table(rates).version == default_table([parse_rate(rate_json(r)) for r in reversed(rates)]).version


def test_a_number_in_json_keeps_its_digits() -> None:
    rate = parse_rate(b'{"id": "a", "per_unit": {"gpu_second": 0.0011}}')
    assert rate.quantities["gpu_second"] == 1_100_000_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "the rate is not JSON"),
        (b"\xff", "the rate is not JSON"),
        (b'{"id": "a", "discount": "1"}', r"the rate \(a\): there is no field 'discount'"),
        (b"[]", "the rate: Input should be a valid dictionary"),
    ],
)
def test_a_value_that_does_not_fit(value: bytes, message: str) -> None:
    with pytest.raises(SpendError, match=message):
        parse_rate(value)
