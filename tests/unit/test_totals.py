"""The deltas of a block are what its calls add up to, whatever the calls, and arrive as they left."""

from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from schemas.priced import COSTS, FEW_VALUES, priced_arrow
from streams import blocks, totals
from streams.errors import Halt
from streams.partitioner import partitions_of
from streams.spend.dimensions import COUNTS, DIMENSIONS
from streams.spend.totals import SCHEMA, deltas, member_key, split
from tests.unit.priced_rows_by_hand import Call, deltas_of, priced_block, summed, sums_of

NOON = 1_795_780_800  # 2026-11-27 12:00 UTC
KEY = ("dimension", "member", "minute")
PLAIN = pa.schema(
    [f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in priced_arrow()]
)  # of blocks of format 1

name = st.sampled_from([None, "", "acme", "Acme", "acme ", "(other) 0", "a=b", "Zürich", "\u0000", "日本", "🦊"])
small = st.one_of(st.none(), st.integers(0, 10**6))
picos = st.one_of(st.none(), st.integers(0, 10**13), st.integers(8 * 10**18, 9 * 10**18))
TOKENS = [count for count in COUNTS if count.endswith("_tokens")]
calls = st.fixed_dictionaries(
    {
        "at": st.integers(NOON - 200, NOON + 200),
        "provider": st.sampled_from(["openai", "anthropic"]),
        "model": st.sampled_from(["gpt-4o", "claude", ""]),
        "pricing_status": st.sampled_from(["priced", "partial", "unpriced"]),
        "error_type": st.sampled_from([None, "", "timeout"]),
        "cache_outcome": st.sampled_from([None, "hit", "miss", "bypass"]),
        "tags": st.dictionaries(st.sampled_from(["", "env", "a=b", "x"]), st.sampled_from(["", "1", "c=d"])).map(
            lambda tags: list(tags.items())
        ),
    },
    optional={
        **dict.fromkeys(
            ("workload", "customer", "team", "project", "user", "service", "server", "gateway", "environment"), name
        ),
        **dict.fromkeys(TOKENS, small),
        **dict.fromkeys(COSTS, picos),
    },
)


@given(made=st.lists(calls, max_size=40), plain=st.booleans())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_deltas_of_a_block_are_the_sums_of_its_calls(made: list[Call], plain: bool) -> None:
    found = deltas(priced_block(made, PLAIN if plain else None))
    assert found.schema == SCHEMA
    assert summed(found, *KEY) == sums_of(made)


@given(made=st.lists(calls, min_size=1, max_size=20), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_slice_of_a_block_adds_what_its_own_calls_do(made: list[Call], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(made)))
    count = data.draw(st.integers(0, len(made) - first))
    found = deltas(priced_block(made).slice(first, count))
    assert summed(found, *KEY) == sums_of(made[first : first + count])


@given(made=st.lists(calls, max_size=20), partitions=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_a_block_that_went_over_the_wire_adds_the_same(made: list[Call], partitions: int) -> None:
    batch = blocks.read(blocks.write(priced_block(made)))
    parts = [totals.read(totals.write(part)) for part in split(deltas(batch), partitions)]
    assert len(parts) == partitions
    assert all(part.schema == SCHEMA for part in parts)
    assert summed(pl.concat(parts), *KEY) == sums_of(made)
    for number, part in enumerate(parts):
        keys = [member_key(*key) for key in part.select("dimension", "member").iter_rows()]
        assert set(partitions_of(keys, partitions)) <= {number}


def test_sums_of_money_do_not_wrap_where_sixty_four_bits_end() -> None:
    dear = {"at": NOON, "cost_total": 9 * 10**18, "cost_input": 9 * 10**18}
    (overall,) = deltas(priced_block([dear] * 5)).filter(dimension="global").iter_rows(named=True)
    assert overall["cost_total"] == 5 * Decimal(9_000_000)  # 45 million dollars; int64 ends at 9.2
    assert overall["cost_output"] == 0


def test_an_empty_block_adds_nothing() -> None:
    empty = deltas(priced_block([]))
    assert empty.schema == SCHEMA and empty.is_empty()
    assert totals.write(empty) == b""
    assert_frame_equal(totals.read(b""), empty)
    assert [part.height for part in split(empty, 3)] == [0, 0, 0]


def test_a_null_cost_adds_nothing_and_its_call_counts() -> None:
    made = [{"at": NOON, "pricing_status": "unpriced"}, {"at": NOON, "cost_total": 7}]
    (overall,) = deltas(priced_block(made)).filter(dimension="global").iter_rows(named=True)
    assert (overall["calls"], overall["unpriced_calls"], overall["cost_total"]) == (2, 1, Decimal("7E-12"))


def test_calls_without_tags_are_in_no_tag_and_one_with_three_is_in_three() -> None:
    made = [{"at": NOON}, {"at": NOON, "tags": [("a", "1"), ("b", "1"), ("c", "1")], "cost_total": 5}]
    tags = deltas(priced_block(made)).filter(dimension="tag")
    assert sorted(tags["member"]) == ["a=1", "b=1", "c=1"]
    assert tags["calls"].to_list() == [1, 1, 1]


def test_an_absent_member_and_an_empty_one_are_the_same() -> None:
    made = [{"at": NOON, "customer": ""}, {"at": NOON, "customer": None}, {"at": NOON, "customer": "acme"}]
    customers = deltas(priced_block(made)).filter(dimension="customer").sort("member")
    assert customers.select("member", "calls").rows() == [("", 2), ("acme", 1)]


def test_a_dictionary_that_holds_a_name_twice_or_null_is_read_by_its_values() -> None:
    batch = priced_block([{"at": NOON}] * 4)
    twice = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, None], pa.int32()), pa.array(["acme", "acme", None], pa.string())
    )
    columns = [twice if field.name == "customer" else batch.column(field.name) for field in batch.schema]
    found = deltas(pa.RecordBatch.from_arrays(columns, schema=batch.schema)).filter(dimension="customer")
    assert found.sort("member").select("member", "calls").rows() == [("", 2), ("acme", 2)]


def test_every_dimension_is_there_once_a_call_bears_all() -> None:
    found = deltas(priced_block([{"at": NOON, "tags": [("a", "1")]}]))
    assert set(found["dimension"]) == set(DIMENSIONS)


def test_minutes_are_cut_at_the_minute() -> None:
    made = [{"at": NOON - 1}, {"at": NOON}, {"at": NOON + 59}, {"at": NOON + 60}]
    overall = deltas(priced_block(made)).filter(dimension="global").sort("minute")
    assert overall.select("minute", "calls").rows() == [(NOON - 60, 1), (NOON, 2), (NOON + 60, 1)]


def test_there_is_no_splitting_into_no_partitions() -> None:
    with pytest.raises(ValueError, match="at least one partition"):
        split(SCHEMA.to_frame(), 0)


def test_a_member_with_a_zero_byte_is_not_taken_for_another() -> None:
    frame = deltas_of([("customer", "a", NOON, {}), ("customer", "\0a", NOON, {}), ("tag", "a=", NOON, {})])
    assert summed(pl.concat(split(frame, 4)), *KEY) == summed(frame, *KEY)


@given(
    st.builds(
        totals.Header,
        log_id=st.text(st.characters(codec="utf-8"), max_size=30),
        block_log_id=st.text(max_size=30),
        source_partition=st.integers(0, 1_000),
        partitions=st.integers(1, 1_000),
        block=st.integers(-1, 2**62),
        events=st.integers(0, 2**62),
        duplicates=st.integers(0, 2**62),
        dead_letters=st.integers(0, 2**62),
        event_time_max=st.integers(0, 2**62),
        idle=st.integers(0, 1),
    )
)
def test_a_header_comes_back_as_it_was(header: totals.Header) -> None:
    assert totals.Header.from_kafka(header.to_kafka()) == header


@pytest.mark.parametrize("headers", [None, [], [("format", b"2")], [("log_id", b"x")]])
def test_a_message_of_another_format_halts(headers: Any) -> None:
    with pytest.raises(Halt, match="another format"):
        totals.Header.from_kafka(headers)


def test_the_texts_of_a_block_are_what_this_test_thinks() -> None:
    assert priced_arrow().field("customer").type != pa.string()  # or the plain schema would be no other
    assert "customer" in FEW_VALUES and PLAIN.field("customer").type == pa.string()
