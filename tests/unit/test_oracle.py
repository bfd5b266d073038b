"""The oracle by itself, against the pipeline's own functions, and what a comparison with raw rows finds."""

from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import WriterSchemas, encode_event
from schemas.priced import COSTS
from schemas.resolution import row_schema
from schemas.wire import current_prefix
from streams.audit.compare import Actual, Tally, compare
from streams.audit.report import Partition, Report, dollars
from streams.audit.rollups import Rollup
from streams.audit.tables import Unaudited, picos
from streams.oracle.decode import Decoder
from streams.oracle.judge import COLUMNS, FIELDS, NULL, Accepted, Expected, Oracle
from streams.oracle.price import PARTIAL, PRICED, STATUS, UNPRICED, OraclePrices
from streams.spend.check import check
from streams.spend.decode import decode
from streams.spend.price import price
from streams.spend.rates import default_table

NOON = 1_750_000_000_000_000  # 2025-06-15, microseconds
MILLION = 10**6
WRITERS = WriterSchemas()
TABLE = default_table()


def event(**fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "source": "gateway",
        "time": NOON,
        "provider": "openai",
        "request_model": "gpt-4o",
        "operation": "chat",
        **fields,
    }


def oracle(horizon: int = 100) -> Oracle:
    return Oracle(Decoder(WRITERS), OraclePrices(TABLE), horizon)


def judged(*values: bytes | None, time_us: int = NOON, horizon: int = 100) -> Expected:
    one = oracle(horizon)
    for offset, value in enumerate(values):
        one.judge(offset, time_us, value)
    return one.cut()


def reason(value: bytes | None, time_us: int = NOON) -> str:
    expected = judged(value, time_us=time_us)
    assert len(expected.offsets) == 0
    (only,) = expected.dead_letters
    return only


def costs(**fields: Any) -> dict[str, Decimal | None]:
    """Of one event, in dollars."""
    expected = judged(encode_event(event(**fields)))
    assert not expected.dead_letters
    row = dict(zip(COLUMNS, expected.values[0].tolist(), strict=True))
    return {name: None if row[name] == NULL else Decimal(row[name]).scaleb(-12) for name in COSTS}


def test_tokens_are_billed_once_each_with_cached_reads_at_their_own_price():
    # gpt-4o: 2.50 a million input, 1.25 cached, 10.00 output
    found = costs(input_tokens=1000, cache_read_input_tokens=400, output_tokens=300)
    assert found["cost_input"] == 600 * Decimal("2.50") / MILLION
    assert found["cost_cache_read"] == 400 * Decimal("1.25") / MILLION
    assert found["cost_output"] == 300 * Decimal("10.00") / MILLION
    assert found["cost_total"] == Decimal("0.005000000000")


def test_a_model_without_a_price_is_unpriced_and_never_free():
    expected = judged(encode_event(event(request_model="gpt-99-imagined", input_tokens=10)))
    assert expected.values[0, COLUMNS.index("status")] == UNPRICED
    assert set(expected.values[0, COLUMNS.index("status") + 1 :].tolist()) == {NULL}


def test_a_count_without_a_price_leaves_the_event_priced_in_part():
    expected = judged(encode_event(event(input_tokens=1000, quantities={"moon_rock": 3})))
    assert expected.values[0, COLUMNS.index("status")] == PARTIAL
    assert expected.values[0, COLUMNS.index("cost_total")] == picos(str(1000 * Decimal("2.50") / MILLION))


def test_a_repeat_is_dropped_within_the_horizon_only_and_a_dead_letter_is_never_one():
    good, bad = encode_event(event()), encode_event(event(input_tokens=-1))
    expected = judged(bad, good, good, None, good, good, good, horizon=3)
    assert expected.offsets.tolist() == [1, 5]
    assert expected.duplicates.tolist() == [2, 4, 6]
    assert {name: offsets.tolist() for name, offsets in expected.dead_letters.items()} == {
        "out_of_bounds": [0],
        "empty": [3],
    }
    assert (expected.records, expected.last, expected.beyond(4)) == (7, 6, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), max_size=80), st.integers(1, 40))
def test_forgetting_what_is_beyond_the_horizon_changes_no_decision(steps: list[tuple[int, int]], horizon: int):
    accepted, plain, offset = Accepted(horizon), dict[str, int](), 0
    for name, gap in steps:
        offset += gap
        key = str(name)
        repeat = key in plain and offset - plain[key] <= horizon
        if not repeat:
            plain[key] = offset
        assert accepted.is_repeat("gateway", key, offset) == repeat


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": ""}, "out_of_bounds"),
        ({"request_model": ""}, "out_of_bounds"),
        ({"input_tokens": -1}, "out_of_bounds"),
        ({"output_tokens": 10**9 + 1}, "out_of_bounds"),
        ({"quantities": {"image": -1}}, "out_of_bounds"),
        ({"time": 0}, "out_of_bounds"),
        ({"workload": "w" * 1025}, "too_large"),
        ({"workload": "é" * 513}, "too_large"),
        ({"tags": {str(n): "" for n in range(65)}}, "too_large"),
        ({"raw_usage": "r" * 65_537}, "too_large"),
        ({"raw_usage": "r" * 300_000}, "too_large"),
        ({"time": NOON + 301 * MILLION}, "ahead_of_record"),
        ({"input_tokens": 10, "cache_read_input_tokens": 11}, "contradiction"),
        ({"cache_read_input_tokens": 1}, "contradiction"),
        ({"output_tokens": 10, "reasoning_output_tokens": 6, "audio_output_tokens": 5}, "contradiction"),
        ({"reported_cost_picos": -1}, "cost_out_of_bounds"),
    ],
)
def test_what_an_event_may_not_say_is_a_dead_letter(fields: dict[str, Any], expected: str):
    assert reason(encode_event(event(**fields))) == expected


def test_what_is_no_record_is_a_dead_letter():
    good = encode_event(event())
    assert reason(None) == "empty"
    assert reason(b"") == "empty"
    assert reason(b"hello") == "undecodable"
    assert reason(good[:-1]) == "undecodable"
    assert reason(good + b"\0") == "trailing_bytes"
    assert reason(b"\xc3\x01" + bytes(8) + good[10:]) == "unknown_schema"


def test_what_fastavro_lets_pass_and_the_specification_does_not_is_a_dead_letter():
    good = bytearray(encode_event(event(stream=True, cache_outcome="miss")))
    places = {name: at for at, name in _places(bytes(good))}
    boolean, outcome = places["stream"] + 1, places["cache_outcome"] + 1
    assert (good[boolean], good[outcome]) == (1, 2)
    for at, byte in ((boolean, 2), (outcome, 1), (places["usage_status"], 1)):
        bad = bytearray(good)
        bad[at] = byte
        body = BytesIO(bad)
        body.seek(10)
        fastavro.schemaless_reader(body, row_schema(), None)
        assert reason(bytes(bad)) == "undecodable"
        assert [p.reason for p in decode([bytes(bad)], WRITERS).poison] == ["undecodable"]


def test_a_map_that_names_a_key_twice_is_a_contradiction():
    good = encode_event(event(tags={"a": "x", "b": "y"}))
    twice = good.replace(b"\x02a\x02x\x02b\x02y", b"\x02a\x02x\x02a\x02y")
    assert twice != good
    assert reason(twice) == "contradiction"


def _places(value: bytes) -> list[tuple[int, str]]:
    body, places = BytesIO(value), []
    body.seek(len(current_prefix()))
    for field in row_schema()["fields"]:
        places.append((body.tell(), field["name"]))
        fastavro.schemaless_reader(body, fastavro.parse_schema(field["type"]), None)
    return places


MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-audio-preview"),
    ("azure.ai.openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("deepseek", "deepseek-chat"),
    ("perplexity", "sonar"),
    ("mistral", "mistral-large-latest"),
    ("nobody", "nothing"),
]
COUNT = st.none() | st.integers(-1, 12) | st.sampled_from([199_999, 200_000, 200_001, 10**9, 10**9 + 1])


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    provider, model = draw(st.sampled_from(MODELS))
    whole = draw(st.sampled_from([0, 7, 5_000, 200_000, 200_001, 3_000_001]))
    out = draw(st.sampled_from([0, 9, 4_001]))
    part = st.none() | st.integers(0, max(1, whole // 3))
    fields: dict[str, Any] = {
        "id": str(draw(st.integers(0, 3))),
        "provider": provider,
        "request_model": model,
        "time": NOON + draw(st.integers(0, 10_000)) * 7_777_777_777,
        "input_tokens": whole,
        "output_tokens": out,
        "cache_read_input_tokens": draw(part),
        "cache_creation_input_tokens": draw(part),
        "audio_input_tokens": draw(part),
        "image_input_tokens": draw(part),
        "reasoning_output_tokens": draw(st.none() | st.integers(0, out)),
        "service_tier": draw(st.sampled_from([None, "default", "flex", "priority", "scale"])),
        "is_batch": draw(st.sampled_from([None, True, False])),
        "region": draw(st.sampled_from([None, "eu-west-1"])),
        "quantities": draw(
            st.dictionaries(st.sampled_from(["web_search", "image", "request", "character", "x"]), st.integers(0, 9))
        ),
    }
    if draw(st.integers(0, 5)) == 0:
        fields[draw(st.sampled_from(sorted(name for name in fields if name.endswith("tokens"))))] = draw(COUNT)
    return event(**fields)


@settings(max_examples=150, deadline=None)
@given(st.lists(events(), min_size=1, max_size=20))
def test_the_oracle_and_the_pipeline_decide_alike(some: list[dict[str, Any]]):
    values = [encode_event(one) for one in some]
    record_time = NOON + 80_000_000_000_000
    expected = judged(*values, time_us=record_time, horizon=1)

    decoded = decode(values, WRITERS)
    keep, poison = check(decoded.batch, np.full(len(values), record_time))
    table = price(pl.DataFrame(decoded.batch.filter(pa.array(keep))), TABLE)
    dead = {p.position: p.reason for p in poison}
    dead |= {
        int(at): problem
        for at, problem in zip(np.flatnonzero(keep), table["problem"].to_list(), strict=True)
        if problem is not None
    }
    assert {int(o): name for name, offsets in expected.dead_letters.items() for o in offsets} == dead
    rows = dict(zip(np.flatnonzero(keep).tolist(), table.iter_rows(named=True), strict=True))
    for offset, values_ in zip(expected.offsets.tolist(), expected.values.tolist(), strict=True):
        row = rows[offset]
        theirs = [STATUS[row["pricing_status"]], *(NULL if row[name] is None else row[name] for name in COSTS)]
        assert values_[COLUMNS.index("status") :] == theirs


# ---- comparing with raw rows


def expected_rows(*rows: tuple[int, int]) -> Expected:
    """(offset, cost in picodollars) of accepted events."""
    values = [[NOON, 5, NULL, 7, PRICED, *[0] * (len(COSTS) - 1), cost] for _, cost in rows]
    return Expected(
        offsets=np.array([offset for offset, _ in rows], dtype=np.int64),
        values=np.array(values, dtype=np.int64).reshape(-1, len(COLUMNS)),
        kinds=[("openai", "gpt-4o")] * len(rows),
        duplicates=np.empty(0, np.int64),
        dead_letters={},
        records=len(rows),
    )


def raw_rows(*rows: tuple[int, int], current: bool = True) -> Actual:
    same = expected_rows(*rows)
    return Actual(same.offsets, same.values, np.full(len(rows), current))


def compared(expected: Expected, actual: Actual, kept_since_us: int = 0) -> Tally:
    return compare(expected, actual, 0, kept_since_us)


def test_equal_rows_leave_nothing_to_say():
    tally = compared(expected_rows((3, 10), (5, 20)), raw_rows((3, 10), (5, 20)))
    assert (tally.lost, tally.duplicated, tally.unexpected, tally.differing) == (0, 0, 0, 0)
    assert tally.oracle[-1] == tally.raw[-1] == 30
    assert tally.examples == []


def test_each_difference_is_counted_and_told():
    tally = compared(
        expected_rows((1, 10), (2, 20), (3, 30), (4, 40)),
        raw_rows((1, 10), (3, 31), (4, 40), (4, 40), (9, 90)),
    )
    assert (tally.lost, tally.differing, tally.duplicated, tally.unexpected) == (1, 1, 1, 1)
    assert (tally.oracle[-1], tally.raw[-1]) == (100, 10 + 31 + 40 + 40 + 90)
    assert tally.examples == [
        "partition 0 offset 2 (2025-06-15, openai gpt-4o) is not in ClickHouse",
        "partition 0 offset 4 (2025-06-15, openai gpt-4o) is in ClickHouse more than once",
        "partition 0 offset 3 (2025-06-15, openai gpt-4o) cost_total is 31, not 30",
        "partition 0 offset 9 is in ClickHouse, and should not be counted",
    ]
    assert tally.where["2025-06-15", "openai", "gpt-4o", "lost"] == 1


def test_a_row_that_is_anothers_differs_though_all_sums_are_equal():
    rows = raw_rows((1, 10), (2, 20))
    rows.values[1, COLUMNS.index("fields")] = 8
    tally = compared(expected_rows((1, 10), (2, 20)), rows)
    assert (tally.differing, tally.oracle == tally.raw) == (1, True)
    assert "a name or count is another" in tally.examples[0]
    assert not report(tally).ok


def test_what_an_event_belongs_to_and_all_that_it_counts_is_in_its_digest():
    def digest(**fields: Any) -> int:
        return int(judged(encode_event(event(**fields))).values[0, COLUMNS.index("fields")])

    plain = digest(customer="a", input_tokens=9)
    assert digest(customer="a", input_tokens=9) == plain
    counts = [{name: 1, "cache_creation_input_tokens": 2} for name in FIELDS if name.endswith("_tokens")]
    counts.append({"cache_creation_input_tokens": 1})
    others = [
        *(digest(customer=None, input_tokens=9), digest(customer="", input_tokens=9), digest(workload="a")),
        *(digest(customer="a", input_tokens=9, output_tokens=9, **counted) for counted in counts),
        *(digest(customer="a", user=text, input_tokens=9) for text in ("", "a", "ä")),
        digest(customer="a", response_model="gpt-4o-mini", input_tokens=9),
    ]
    assert len({plain, *others}) == 1 + len(others)


def test_a_row_of_an_earlier_version_of_the_rates_keeps_its_price():
    tally = compared(expected_rows((1, 10)), raw_rows((1, 12), current=False))
    assert (tally.repriced, tally.differing) == (1, 0)
    assert tally.oracle == tally.raw


def test_a_row_that_is_older_than_rows_are_kept_may_be_gone():
    tally = compared(expected_rows((1, 10)), raw_rows(), kept_since_us=NOON + 1)
    assert (tally.expired, tally.lost) == (1, 0)
    assert tally.oracle == tally.raw
    assert compared(expected_rows((1, 10)), raw_rows((1, 10)), kept_since_us=NOON + 1).expired == 0


def test_sums_of_costs_do_not_wrap():
    rows = [(offset, 10**18) for offset in range(100)]
    assert compared(expected_rows(*rows), raw_rows(*rows)).raw[-1] == 100 * 10**18


def report(tally: Tally, rollup: Rollup | None = None, gone: dict[str, Unaudited] | None = None) -> Report:
    sums = {"cost_total": tally.raw[-1]}
    equal = Rollup("usage_15m", tally.accepted, tally.accepted, sums, sums, 0, [])
    partition = Partition(0, 0, 10, records=tally.accepted, tally=tally)
    return Report("log", "rates 1", [partition], gone or {}, [rollup or equal], "2025-01-01T00:00:00")


def test_a_report_is_ok_only_when_everything_is_equal():
    equal = compared(expected_rows((3, 10)), raw_rows((3, 10)))
    assert report(equal).ok
    assert not report(compared(expected_rows((3, 10)), raw_rows())).ok
    assert not report(compared(expected_rows((3, 10)), raw_rows((3, 11)))).ok
    assert not report(equal, rollup=Rollup("usage_15m", 1, 1, {"cost_total": 9}, {"cost_total": 10}, 1, ["..."])).ok
    assert not report(equal, gone={"older": Unaudited(5, 1, [0] * len(COSTS))}).ok
    assert report(equal, gone={"older": Unaudited(5, 0, [0] * len(COSTS))}).ok
    late = report(equal)
    late.partitions[0].pending = 1
    assert not late.ok


def test_the_json_report_gives_money_as_strings():
    found = report(compared(expected_rows((3, 1_000_000_000_001)), raw_rows((3, 1_000_000_000_000)))).to_json()
    assert found["cost"]["oracle"] == "1.000000000001"
    assert found["differences"]["raw_minus_oracle"] == "-0.000000000001"
    assert (found["events"], found["lost"], found["duplicated"], found["ok"]) == (1, 0, 0, False)


@pytest.mark.parametrize("text", ["0", "12", "-0.5", "0.000000000001", "9223372.036854775808", "-1000000000000.1"])
def test_decimal_texts_become_picodollars_exactly(text: str):
    assert dollars(picos(text)) == f"{Decimal(text):.12f}"
