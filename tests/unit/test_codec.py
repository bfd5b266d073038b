"""Both wire formats, written and read; and that the fast ways write what the slow one writes."""

import json
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import UnknownSchema, WriterSchemas, encode_batch, encode_event, encode_events
from schemas.priced import usage_event_arrow, usage_event_avsc
from schemas.usage_event import UsageEvent, micros, to_avro, to_row
from schemas.wire import confluent_prefix, current_prefix, fingerprint, prefix_size, schema_id_of
from streams.spend.decode import decode

NOON = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
LONG = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=8)


def values_of(avro: Any) -> st.SearchStrategy[Any]:
    """Any value that an Avro type of the usage event can have."""
    if isinstance(avro, list):
        return st.one_of([values_of(branch) for branch in avro])
    if isinstance(avro, dict):
        if avro["type"] == "enum":
            return st.sampled_from(avro["symbols"])
        if avro["type"] == "map":
            return st.dictionaries(TEXT, values_of(avro["values"]), max_size=3)
        return values_of(avro["type"])
    return {"null": st.none(), "string": TEXT, "long": LONG, "boolean": st.booleans()}[avro]


EVENTS = st.fixed_dictionaries(
    {field["name"]: values_of(field["type"]) for field in json.loads(usage_event_avsc())["fields"]}
)


def event(**changes: Any) -> UsageEvent:
    given = {"source": "gw", "time": NOON, "provider": "openai", "request_model": "gpt-5-mini", "operation": "chat"}
    return UsageEvent(**{**given, **changes})


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Decoded rows as the codec takes them."""
    times = [pa.int64() if pa.types.is_timestamp(f.type) else f.type for f in batch.schema]
    plain = pa.RecordBatch.from_arrays(
        [column.view(t) for column, t in zip(batch.columns, times, strict=True)], names=batch.schema.names
    )
    maps = ("quantities", "tags")
    return [{k: dict(v) if k in maps else v for k, v in row.items()} for row in plain.to_pylist()]


def test_single_object_encoding_is_avros() -> None:
    value = to_avro(event(id="e1"))
    assert value[:2] == b"\xc3\x01"
    assert value[2:10] == fingerprint(usage_event_avsc())
    body = fastavro.schemaless_reader(BytesIO(value[10:]), json.loads(usage_event_avsc()), None)
    assert isinstance(body, dict)
    assert (body["id"], body["time"], body["usage_status"], body["tags"]) == ("e1", NOON, "final", {})


def test_confluent_framing_carries_the_registrys_id() -> None:
    value = to_avro(event(), confluent_prefix(70_000))
    assert value[:5] == b"\x00\x00\x01\x11\x70"
    assert schema_id_of(value[:5]) == 70_000
    assert value[5:6] != b""


@pytest.mark.parametrize(
    "value", [b"", b"\xc3", b"\xc3\x01short", b"\x00\x00\x00\x01", b'{"id": 1}', b"\xc3\x02" + b"x" * 20]
)
def test_what_is_neither_format_has_no_prefix(value: bytes) -> None:
    assert prefix_size(value) == 0


def test_an_event_comes_back_as_it_was_sent() -> None:
    sent = event(
        input_tokens=1_200,
        cache_read_input_tokens=1_000,
        quantities={"web_search": 2},
        tags={"città": "Zürich"},
        start_time=datetime(2026, 3, 1, 11, 59, 59, 999999, tzinfo=UTC),
        stream=False,
        cache_outcome="miss",
    )
    (row,) = rows_of(decode([to_avro(sent)], WriterSchemas()).batch)
    assert row == to_row(sent)
    assert row["time"] == micros(NOON) == 1_772_366_400_123_457


def test_both_formats_carry_the_same_events() -> None:
    writers = WriterSchemas(lookup=lambda schema_id: usage_event_avsc() if schema_id == 7 else None)
    sent = [event(id=f"e{i}", attempt=i) for i in range(10)]
    plain = decode([to_avro(e) for e in sent], writers)
    mixed = decode([to_avro(e, confluent_prefix(7) if i % 3 else None) for i, e in enumerate(sent)], writers)
    assert mixed.batch.equals(plain.batch)
    assert mixed.positions.tolist() == list(range(10))


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=6))
def test_the_batch_encoder_writes_what_the_row_encoder_writes(events: list[dict[str, Any]]) -> None:
    values = encode_events(events)
    decoded = decode(values, WriterSchemas())
    assert decoded.poison == []
    assert rows_of(decoded.batch) == events
    assert encode_batch(decoded.batch) == values
    framed = confluent_prefix(9)
    assert encode_batch(decoded.batch, framed) == encode_events(events, framed)


def test_the_batch_encoder_takes_arrays_that_pyarrow_made() -> None:
    rows = [to_row(event(id=f"e{i}", tags={"k": str(i)} if i % 2 else {}, attempt=i or None)) for i in range(5)]
    schema = usage_event_arrow()
    batch = pa.RecordBatch.from_pylist([{**r, "tags": list(r["tags"].items())} for r in rows], schema=schema)
    assert encode_batch(batch) == encode_events(rows)
    assert encode_batch(batch.slice(2, 2)) == encode_events(rows[2:4])


def test_the_batch_encoder_refuses_what_is_no_batch_of_events() -> None:
    schema = usage_event_arrow()
    good = decode([to_avro(event())], WriterSchemas()).batch
    with pytest.raises(ValueError, match="not a batch of usage events: customer"):
        encode_batch(good.set_column(schema.get_field_index("customer"), "customer", pa.array([1])))
    missing = [pa.array([None], f.type) if f.name == "source" else good.column(f.name) for f in schema]
    with pytest.raises(ValueError, match="source is null in 1 events, and may not be"):
        encode_batch(pa.RecordBatch.from_arrays(missing, schema=schema))
    strange = [pa.array(["free"]) if f.name == "cost_category" else good.column(f.name) for f in schema]
    with pytest.raises(ValueError, match="'free'"):
        encode_batch(pa.RecordBatch.from_arrays(strange, schema=schema))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": None}, "id"),
        ({"input_tokens": "many"}, "input_tokens"),
        ({"input_tokens": 2**63}, "input_tokens"),
        ({"cost_category": "free"}, "cost_category"),
        ({"prompt": "hello"}, "not a field of a usage event: prompt"),
    ],
)
def test_the_row_encoder_refuses_what_does_not_fit(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode_event({**to_row(event()), **changes})


def test_a_required_field_may_not_be_left_out_and_others_take_their_defaults() -> None:
    row = to_row(event())
    assert encode_event({k: v for k, v in row.items() if v is not None}) == encode_event(row)
    del row["provider"]
    with pytest.raises(ValueError, match="provider"):
        encode_event(row)


def test_a_schema_is_asked_of_the_registry_once() -> None:
    asked = []

    def lookup(schema_id: int) -> str | None:
        asked.append(schema_id)
        return usage_event_avsc() if schema_id == 1 else None

    writers = WriterSchemas(lookup)
    for _ in range(3):
        writers.find(confluent_prefix(1))
        with pytest.raises(UnknownSchema, match="id 2 is not in the schema registry"):
            writers.find(confluent_prefix(2))
    assert asked.count(1) == 1
    assert asked.count(2) == 3, "an unknown schema may be registered later: the registry's client decides when to ask"


def test_without_a_registry_its_records_name_the_setting() -> None:
    with pytest.raises(UnknownSchema, match="SPEND_SCHEMA_REGISTRY_URL"):
        WriterSchemas().find(confluent_prefix(1))


def test_the_prefix_written_is_the_current_schemas() -> None:
    assert codec.current_prefix() == current_prefix() == b"\xc3\x01" + fingerprint(usage_event_avsc())
