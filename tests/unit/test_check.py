"""What cannot be counted is refused, with a sentence that names the field and the numbers."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from schemas.bounds import MAX_TOKENS
from schemas.codec import WriterSchemas, encode_events
from schemas.priced import usage_event_arrow
from schemas.usage_event import UsageEvent
from streams.spend.check import check
from streams.spend.decode import decode

NOON = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
MINUTE = 60_000_000
WRITERS = WriterSchemas()


def row(**changes: Any) -> dict[str, Any]:
    given = {
        "id": "e1",
        "source": "gw",
        "time": NOON,
        "provider": "openai",
        "request_model": "gpt-5-mini",
        "operation": "chat",
        "input_tokens": 1_000,
        "output_tokens": 200,
    }
    return {**given, **changes}


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    decoded = decode(encode_events(rows), WRITERS)
    assert decoded.poison == []
    return decoded.batch


def refusal(record_time_us: int = NOON, **changes: Any) -> tuple[str, str] | None:
    keep, poison = check(batch(row(), row(**changes), row()), np.full(3, record_time_us))
    assert keep.tolist() == [True, not poison, True], "the others are kept"
    assert [p.position for p in poison] in ([], [1])
    return (poison[0].reason, poison[0].detail) if poison else None


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"id": ""}, "out_of_bounds", "id is empty"),
    ({"source": ""}, "out_of_bounds", "source is empty"),
    ({"provider": ""}, "out_of_bounds", "provider is empty"),
    ({"request_model": ""}, "out_of_bounds", "request_model is empty"),
    ({"input_tokens": MAX_TOKENS + 1}, "out_of_bounds", "input_tokens is 1,000,000,001, more than 1,000,000,000"),
    ({"output_tokens": 2**63 - 1}, "out_of_bounds", "output_tokens is 9,223,372,036,854,775,807, more than"),
    ({"unit_count": 10**12 + 1}, "out_of_bounds", "unit_count is 1,000,000,000,001, more than"),
    ({"quantities": {"gpu_second": 10**12 + 1}}, "out_of_bounds", "quantity 'gpu_second' is 1,000,000,000,001, more"),
    ({"reported_cost_picos": 10**18 + 1}, "cost_out_of_bounds", "reported_cost_picos is 1,000,000,000,000,000,001"),
    (
        {"cache_read_input_tokens": 1_001},
        "contradiction",
        "cache_read_input_tokens 1,001 is more than input_tokens 1,000",
    ),
    (
        {"cache_read_input_tokens": 600, "cache_creation_input_tokens": 401},
        "contradiction",
        "cache_read_input_tokens 600 + cache_creation_input_tokens 401 is more than input_tokens 1,000",
    ),
    (
        {"cache_creation_input_tokens": 10, "cache_creation_1h_input_tokens": 11},
        "contradiction",
        "cache_creation_1h_input_tokens 11 is more than cache_creation_input_tokens 10",
    ),
    (
        {"cache_creation_1h_input_tokens": 11},
        "contradiction",
        "cache_creation_1h_input_tokens 11 is part of cache_creation_input_tokens, which is missing",
    ),
    (
        {"audio_input_tokens": 900, "image_input_tokens": 101},
        "contradiction",
        "audio_input_tokens 900 + image_input_tokens 101 is more than input_tokens 1,000",
    ),
    (
        {"reasoning_output_tokens": 150, "audio_output_tokens": 51},
        "contradiction",
        "reasoning_output_tokens 150 + audio_output_tokens 51 is more than output_tokens 200",
    ),
    (
        {"output_tokens": None, "reasoning_output_tokens": 1},
        "contradiction",
        "reasoning_output_tokens 1 is part of output_tokens, which is missing",
    ),
    ({"customer": "x" * 1_025}, "too_large", "customer has 1,025 bytes, of at most 1,024"),
    ({"customer": "é" * 513}, "too_large", "customer has 1,026 bytes, of at most 1,024"),
    ({"raw_usage": "x" * 65_537}, "too_large", "raw_usage has 65,537 bytes, of at most 65,536"),
    ({"tags": {"k": "x" * 1_025}}, "too_large", "a key or value of tags has 1,025 bytes, of at most 1,024"),
    ({"quantities": {"x" * 1_025: 1}}, "too_large", "a key or value of quantities has 1,025 bytes"),
    ({"tags": {f"k{i}": "" for i in range(65)}}, "too_large", "tags has 65 entries, of at most 64"),
    ({"start_time": 1_000}, "out_of_bounds", "start_time is 1970-01-01T00:00:00"),
    ({"emitted_at": 4_102_444_800_000_001}, "out_of_bounds", "emitted_at is 2100-01-01T00:00:00"),
]


@pytest.mark.parametrize(("changes", "reason", "detail"), BAD)
def test_what_cannot_be_counted_is_refused(changes: dict[str, Any], reason: str, detail: str) -> None:
    said = refusal(**changes)
    assert said is not None
    assert said[0] == reason
    assert said[1].startswith(detail)


@pytest.mark.parametrize(("changes", "reason", "detail"), BAD)
def test_the_producers_class_refuses_the_same_with_the_same_sentence(
    changes: dict[str, Any], reason: str, detail: str
) -> None:
    given = {
        name: datetime.fromtimestamp(value / 1_000_000, UTC) if name in ("time", "start_time", "emitted_at") else value
        for name, value in row(**changes).items()
    }
    with pytest.raises(ValidationError) as refused:
        UsageEvent(**given)
    assert detail in str(refused.value)


@pytest.mark.parametrize("name", ["input_tokens", "attempt", "duration_ms", "max_tokens", "source_seq", "unit_count"])
def test_no_count_is_negative(name: str) -> None:
    assert refusal(**{name: -1}) == ("out_of_bounds", f"{name} is -1: negative")


def test_no_quantity_is_negative() -> None:
    assert refusal(quantities={"image": 3, "web_search": -(2**63)}) == (
        "out_of_bounds",
        "quantity 'web_search' is -9,223,372,036,854,775,808: negative",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"input_tokens": MAX_TOKENS, "cache_read_input_tokens": MAX_TOKENS},
        {"cache_read_input_tokens": 900, "audio_input_tokens": 900},  # cached audio is both
        {"input_tokens": None, "cache_read_input_tokens": 0},  # no part of what is not known
        {"input_tokens": None, "output_tokens": None, "quantities": {"gpu_second": 10**12}},
        {"max_tokens": 2**63 - 1},  # what some callers send for "no limit"
        {"tags": {f"k{i}": "x" * 1_024 for i in range(64)}},
        {"raw_usage": "x" * 65_536},
        {"time": NOON - 30 * 24 * 60 * MINUTE},
        {"reported_cost_picos": 0},
    ],
)
def test_what_is_unusual_is_counted(changes: dict[str, Any]) -> None:
    assert refusal(**changes) is None


def test_an_event_may_be_five_minutes_ahead_of_its_record_and_not_more() -> None:
    assert refusal(time=NOON + 5 * MINUTE) is None
    assert refusal(time=NOON + 5 * MINUTE + 1) == (
        "ahead_of_record",
        "time 2026-03-01T12:05:00+00:00 is 0:05:00 ahead of the record's own timestamp 2026-03-01T12:00:00+00:00, "
        "more than 5 minutes",
    )


def test_each_event_is_held_to_its_own_record() -> None:
    two = batch(row(time=NOON), row(time=NOON))
    keep, poison = check(two, np.array([NOON - 6 * MINUTE, NOON - 4 * MINUTE]))
    assert keep.tolist() == [False, True]
    assert [p.reason for p in poison] == ["ahead_of_record"]


def test_a_record_without_a_timestamp_has_nothing_ahead_of_it() -> None:
    assert refusal(record_time_us=-1_000, time=NOON) is None


@pytest.mark.parametrize("time", [-(2**63), -1, 0, 1_772_366_400, 1_772_366_400_000, 2**63 - 1])
def test_a_time_in_another_unit_or_beyond_the_calendar_is_refused(time: int) -> None:
    said = refusal(time=time)
    assert said is not None
    assert said[0] == "out_of_bounds"
    assert "not between 2015 and 2100 (microseconds)" in said[1]


def test_a_map_that_names_a_key_twice_is_a_contradiction() -> None:
    schema = usage_event_arrow()
    columns = {name: batch(row(), row(), row()).column(name) for name in schema.names}
    entries = [[("image", 1)], [("image", 1), ("page", 2), ("image", 3)], [("image", 1), ("page", 1)]]
    columns["quantities"] = pa.array(entries, schema.field("quantities").type)
    keep, poison = check(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema), np.full(3, NOON))
    assert keep.tolist() == [True, False, True]
    assert (poison[0].reason, poison[0].detail) == ("contradiction", "quantities names 'image' twice")


def test_a_slice_of_a_batch_is_checked_like_a_whole_one() -> None:
    rows = [row(), row(quantities={"image": -1}), row(tags={"k": "v"}), row(customer="x" * 2_000), row(id="")]
    for start in range(5):
        keep, poison = check(batch(*rows).slice(start), np.full(5 - start, NOON))
        assert keep.tolist() == [True, False, True, False, False][start:]
        assert [p.position for p in poison] == np.flatnonzero(~keep).tolist()


def test_the_first_fault_is_named_and_one_dead_letter_is_enough() -> None:
    keep, poison = check(batch(row(id="", input_tokens=-1, cache_read_input_tokens=5)), np.array([NOON]))
    assert keep.tolist() == [False]
    assert [p.detail for p in poison] == ["id is empty"]


def test_no_events_are_no_trouble() -> None:
    keep, poison = check(batch(), np.empty(0, np.int64))
    assert (keep.tolist(), poison) == ([], [])


def test_sums_of_absurd_counts_do_not_wrap_into_sense() -> None:
    said = refusal(cache_read_input_tokens=2**62, cache_creation_input_tokens=2**62)
    assert said is not None
    assert said[0] == "out_of_bounds"
