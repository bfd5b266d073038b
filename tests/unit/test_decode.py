"""Any bytes whatever: a record is decoded or it is poison, and its neighbours never feel it."""

import json
from copy import deepcopy
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.bounds import MAX_RECORD_BYTES
from schemas.codec import WriterSchemas, encode_event, encode_events
from schemas.priced import usage_event_arrow, usage_event_avsc
from schemas.resolution import Column, Writer
from schemas.wire import confluent_prefix, current_prefix, single_object_prefix, without
from streams.errors import Unreachable
from streams.spend.columns import Undecodable, read, separated
from streams.spend.decode import Decoded, decode

CURRENT = json.loads(usage_event_avsc())
PLAIN = fastavro.parse_schema(without(CURRENT, "logicalType"))
WRITERS = WriterSchemas()


def row(number: int = 0, **changes: Any) -> dict[str, Any]:
    given = {
        "id": f"e{number}",
        "source": "gw",
        "time": 1_772_366_400_000_000 + number,
        "provider": "openai",
        "request_model": "gpt-5-mini",
        "operation": "chat",
        "stream": bool(number % 2),
        "input_tokens": number * 1_000,
        "quantities": {"web_search": number} if number % 3 else {},
        "cache_outcome": "hit",
        "tags": {"k": "v"},
        "raw_usage": "{}",
    }
    return {**given, **changes}


def value(number: int = 0, **changes: Any) -> bytes:
    return encode_event(row(number, **changes))


def changed(**fields: Any) -> dict[str, Any]:
    """The current schema with some fields' types changed; None leaves a field out."""
    schema = deepcopy(CURRENT)
    schema["fields"] = [
        {**field, "type": fields.get(field["name"], field["type"])}
        for field in schema["fields"]
        if fields.get(field["name"], "") is not None
    ]
    for field in schema["fields"]:
        if field["name"] in fields:
            field.pop("default", None)
    return schema


def written(schema: dict[str, Any], *rows: dict[str, Any], schema_id: int = 5) -> list[bytes]:
    values = []
    for fields in rows:
        body = BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(without(schema, "logicalType")), fields)
        values.append(confluent_prefix(schema_id) + body.getvalue())
    return values


def reading(schema: dict[str, Any]) -> WriterSchemas:
    return WriterSchemas(lookup=lambda schema_id: json.dumps(schema) if schema_id == 5 else None)


def said(decoded: Decoded) -> list[tuple[int, str, str]]:
    return [(p.position, p.reason, p.detail) for p in decoded.poison]


def ids(decoded: Decoded) -> list[str]:
    return decoded.batch.column("id").to_pylist()


# ---- one poison among the good


@pytest.mark.parametrize(
    ("bad", "reason", "detail"),
    [
        (None, "empty", "a tombstone"),
        (b"", "empty", "no bytes at all"),
        (b"{}", "undecodable", "begins with 7b 7d: neither Avro single-object encoding"),
        (b'{"id": "e1"}', "undecodable", "begins with 7b 22 69 64: neither"),
        (b"\xc3\x01" + b"\x07" * 8 + b"body", "unknown_schema", "the schema with fingerprint 0707070707070707 is none"),
        (confluent_prefix(3) + b"body", "unknown_schema", "the schema with id 3 needs a registry: set SPEND_SCHEMA_"),
        (current_prefix(), "undecodable", "field id (byte 10 of 10): its bytes end"),
        (value(1)[:-1], "undecodable", "field raw_usage (byte "),
        (value(1)[:30], "undecodable", "field "),
        (value(1) + b"\0", "trailing_bytes", "1 bytes are left over after the record's end"),
        (value(1) + value(2), "trailing_bytes", f"{len(value(2))} bytes are left over after the record's end"),
        (value(1) + b"\0" * 1_000, "trailing_bytes", "1,000 bytes are left over after the record's end"),
        (value(1, raw_usage="x" * MAX_RECORD_BYTES), "too_large", "262,"),
        (value(1).replace(b"gpt-5-mini", b"gpt-5-\xff\xfeni"), "undecodable", "field request_model (byte 31 of"),
        (value(1).replace(b"\x02k\x02v", b"\x02k\x02\xff"), "undecodable", "field tags (byte "),
        (value(1).replace(b"\x02k\x02v", b"\x02\xc3\x02\xa9"), "undecodable", "field tags (byte "),
    ],
)
def test_poison_is_told_apart_and_the_rest_goes_on(bad: bytes | None, reason: str, detail: str) -> None:
    decoded = decode([value(0), bad, value(2)], WRITERS)
    assert ids(decoded) == ["e0", "e2"]
    assert decoded.positions.tolist() == [0, 2]
    ((position, why, text),) = said(decoded)
    assert (position, why) == (1, reason)
    assert text.startswith(detail)


def test_what_fastavro_lets_pass_and_avro_does_not_is_poison() -> None:
    good = value(1)
    boolean = good.replace(b"\x02\x01", b"\x02\x02", 1)  # stream: branch 1, then neither 0 nor 1
    assert boolean != good
    decoded = decode([good, boolean, good], WRITERS)
    assert [(p.position, p.reason) for p in decoded.poison] == [(1, "undecodable")]
    assert "boolean" in decoded.poison[0].detail


@pytest.mark.parametrize("spoilt", [[0], [63], [64], [299], [0, 299], [5, 6, 7, 150, 151], list(range(300))])
def test_all_poison_is_found_wherever_it_is(spoilt: list[int]) -> None:
    values = [value(i)[: -1 if i in spoilt else None] for i in range(300)]
    decoded = decode(values, WRITERS)
    assert [p.position for p in decoded.poison] == spoilt
    assert decoded.positions.tolist() == [i for i in range(300) if i not in spoilt]
    assert ids(decoded) == [f"e{i}" for i in decoded.positions]


def test_poison_of_every_kind_keeps_its_place_among_several_schemas() -> None:
    writers = reading(CURRENT)
    values: list[bytes | None] = []
    for i in range(200):
        framed = value(i) if i % 2 else confluent_prefix(5) + value(i)[10:]
        values.append([None, b"", b"junk", framed[:-2], framed + b"x"][i // 7 % 5] if i % 7 == 0 else framed)
    decoded = decode(values, writers)
    assert [p.position for p in decoded.poison] == [i for i in range(200) if i % 7 == 0]
    assert ids(decoded) == [f"e{i}" for i in range(200) if i % 7]
    assert decoded.positions.tolist() == [i for i in range(200) if i % 7]


def test_nothing_is_nothing() -> None:
    decoded = decode([], WRITERS)
    assert decoded.batch.schema.equals(usage_event_arrow())
    assert (decoded.batch.num_rows, decoded.positions.tolist(), decoded.poison) == (0, [], [])


def test_a_batch_that_columns_cannot_hold_is_refused() -> None:
    huge = b"\xc3\x01" + bytes(300 << 20)
    with pytest.raises(ValueError, match="take at most 1,073,741,824 together"):
        decode([huge] * 4, WRITERS)


def test_columns_are_fit_for_a_block() -> None:
    decoded = decode([value(i) for i in range(100)] + [b"junk"], WRITERS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, decoded.batch.schema) as writer:
        writer.write_batch(decoded.batch)
    again = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
    again.validate(full=True)
    assert again.equals(decoded.batch)


# ---- any bytes


def mutated(data: st.DataObject, good: bytes) -> bytes:
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["cut", "add", "flip", "drop", "double", "swap"]))
    if how == "cut":
        return good[:at]
    if how == "add":
        return good + data.draw(st.binary(min_size=1, max_size=20))
    if how == "drop":
        return good[:at] + good[at + 1 :]
    if how == "double":
        return good[:at] + good[at:] + good[at:]
    if how == "swap":
        return good[:at] + data.draw(st.binary(min_size=1, max_size=12)) + good[at + 1 :]
    return good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :]


def fastavros(candidate: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """What fastavro makes of a record's body, and what it leaves."""
    body = BytesIO(candidate[10:])
    try:
        event = fastavro.schemaless_reader(body, PLAIN, None)
    except Exception:
        return None, b""
    assert isinstance(event, dict)
    return event, body.read()


def plain_rows(decoded: Decoded) -> list[dict[str, Any]]:
    schema = decoded.batch.schema
    columns = [
        c.view(pa.int64()) if pa.types.is_timestamp(f.type) else c
        for c, f in zip(decoded.batch.columns, schema, strict=True)
    ]
    rows = pa.RecordBatch.from_arrays(columns, names=schema.names).to_pylist()
    return [{k: dict(v) if k in ("quantities", "tags") else v for k, v in r.items()} for r in rows]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_decoded_as_fastavro_does_or_are_poison(data: st.DataObject) -> None:
    values: list[bytes | None] = []
    for number in range(data.draw(st.integers(1, 8))):
        good = value(number)
        kind = data.draw(st.sampled_from(["good", "good", "mutated", "mutated", "body", "random", "none"]))
        if kind == "good":
            values.append(good)
        elif kind == "mutated":
            values.append(mutated(data, good))
        elif kind == "body":
            values.append(current_prefix() + data.draw(st.binary(max_size=80)))
        else:
            values.append(data.draw(st.binary(max_size=40)) if kind == "random" else None)

    decoded = decode(values, WRITERS)

    places = decoded.positions.tolist()
    assert sorted([*places, *(p.position for p in decoded.poison)]) == list(range(len(values)))
    assert [p.position for p in decoded.poison] == sorted(p.position for p in decoded.poison)
    decoded.batch.validate(full=True)
    for place, got in zip(places, plain_rows(decoded), strict=True):
        candidate = values[place]
        assert candidate is not None
        event, left = fastavros(candidate)
        assert (got, left) == (event, b"")
    for poison in decoded.poison:
        candidate = values[poison.position] or b""
        event, left = fastavros(candidate) if candidate[:10] == current_prefix() else (None, b"")
        if event is not None and not left:  # only where fastavro is laxer than Avro
            assert "boolean" in poison.detail or "index" in poison.detail or "varint" in poison.detail


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_records_fate_does_not_depend_on_its_neighbours(data: st.DataObject) -> None:
    values = [mutated(data, value(n)) if data.draw(st.booleans()) else value(n) for n in range(5)]
    together = {p.position: p.reason for p in decode(values, WRITERS).poison}
    alone = {i: d.poison[0].reason for i, v in enumerate(values) if (d := decode([v], WRITERS)).poison}
    assert together == alone


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
@example(b"\x00" * 5)
@example(b"\xc3\x01")
def test_random_bytes_never_end_a_worker(junk: bytes) -> None:
    for candidate in (junk, current_prefix() + junk, b"\0" + junk):
        decoded = decode([candidate], WRITERS)
        assert len(decoded.positions) + len(decoded.poison) == 1


def test_a_fault_inside_the_decoder_is_an_answer_and_no_crash(capfd: pytest.CaptureFixture[str]) -> None:
    field = {"name": "x", "type": {"type": "fixed", "name": "F", "size": 2}}  # pyruhvro panics on fixed
    record = {"type": "record", "name": "R", "fields": [field, {"name": "separator", "type": "double"}]}
    joined = {"type": "record", "name": "J", "fields": [{"name": "r", "type": {"type": "array", "items": record}}]}
    writer = Writer(b"", json.dumps(joined), 0, (Column("x", 0),), None, ())
    with pytest.raises(Undecodable):
        read(writer, separated(pa.array([b"ab"]), b"12345678"), b"12345678")
    capfd.readouterr()


# ---- older and newer schemas


def test_an_older_schema_takes_the_defaults_of_what_it_does_not_know() -> None:
    older = changed(tags=None, cost_category=None, raw_usage=None, unit_count=None)
    decoded = decode(written(older, row(1), row(2)), reading(older))
    assert decoded.poison == []
    (first, _) = plain_rows(decoded)
    assert (first["tags"], first["cost_category"], first["raw_usage"]) == ({}, "inference", None)
    assert first["input_tokens"] == 1_000
    assert decoded.batch.schema.equals(usage_event_arrow())


def test_a_newer_schema_may_know_more() -> None:
    newer = changed()
    newer["fields"].insert(3, {"name": "carbon_grams", "type": ["null", "double"], "default": None})
    newer["fields"].append({"name": "steps", "type": {"type": "array", "items": "string"}, "default": []})
    decoded = decode(written(newer, row(1, carbon_grams=0.5, steps=["a", "b"])), reading(newer))
    assert decoded.batch.equals(decode([value(1)], WRITERS).batch)


def test_a_published_older_schema_is_read_by_its_fingerprint() -> None:
    older = changed(raw_usage=None)
    (body,) = written(older, row(1))
    framed = single_object_prefix(json.dumps(older)) + body[5:]
    published = WriterSchemas(schemas=[json.dumps(older), usage_event_avsc()])
    decoded = decode([value(0), framed, value(2)], published)
    assert ids(decoded) == ["e0", "e1", "e2"]
    assert decode([framed], WRITERS).poison[0].reason == "unknown_schema"


def test_what_we_write_is_read_by_an_older_and_a_newer_reader() -> None:
    older = changed(tags=None, raw_usage=None)
    newer = changed()
    newer["fields"].append({"name": "carbon_grams", "type": ["null", "long"], "default": None})
    for reader, expected in ((older, "absent"), (newer, None)):
        event = fastavro.schemaless_reader(
            BytesIO(value(1)[10:]), fastavro.parse_schema(deepcopy(CURRENT)), fastavro.parse_schema(deepcopy(reader))
        )
        assert isinstance(event, dict)
        assert event["id"] == "e1"
        assert event.get("carbon_grams", "absent") == expected


def test_an_int_is_a_long() -> None:
    small = changed(input_tokens=["null", "int"], quantities={"type": "map", "values": "int"}, unit_count="int")
    decoded = decode(written(small, row(7, unit_count=3)), reading(small))
    (got,) = plain_rows(decoded)
    assert (got["input_tokens"], got["quantities"], got["unit_count"]) == (7_000, {"web_search": 7}, 3)


def test_an_int_beyond_its_range_is_not_cut_to_another_number() -> None:
    small = changed(input_tokens="int")
    large = changed(input_tokens="long")  # what a broken producer writes: the same bytes on the wire
    (got,) = plain_rows(decode(written(large, row(1, input_tokens=2**40)), reading(small)))
    assert got["input_tokens"] == 2**40


def test_a_symbol_that_is_not_known_takes_the_enums_default() -> None:
    more = {"type": "enum", "name": "UsageStatus", "symbols": ["final", "partial", "provisional"], "default": "final"}
    newer = changed(usage_status=more)
    decoded = decode(written(newer, row(1, usage_status="provisional"), row(2, usage_status="partial")), reading(newer))
    assert decoded.batch.column("usage_status").to_pylist() == ["final", "partial"]


def test_a_symbol_that_is_not_known_and_has_no_default_is_poison() -> None:
    more = ["null", {"type": "enum", "name": "CacheOutcome", "symbols": ["hit", "miss", "bypass", "warm"]}]
    newer = changed(cache_outcome=more)
    values = written(newer, row(1), row(2, cache_outcome="warm"), row(3, cache_outcome=None))
    decoded = decode(values, reading(newer))
    assert ids(decoded) == ["e1", "e3"]
    assert said(decoded) == [(1, "undecodable", "field cache_outcome has the symbol 'warm', which is not known")]


def test_an_enum_index_that_no_schema_has_is_poison() -> None:
    wider = {"type": "enum", "name": "UsageStatus", "symbols": [f"s{i}" for i in range(200)]}
    (strange,) = written(changed(usage_status=wider), row(1, usage_status="s150"))
    decoded = decode([value(0), current_prefix() + strange[5:]], WRITERS)
    assert [(p.position, p.reason) for p in decoded.poison] == [(1, "undecodable")]
    assert decoded.poison[0].detail.startswith("field usage_status (byte ")


def test_a_null_where_none_may_be_is_poison() -> None:
    loose = changed(source=["null", "string"], time=["null", "long"])
    decoded = decode(written(loose, row(1), row(2, source=None), row(3, time=None), row(4)), reading(loose))
    assert ids(decoded) == ["e1", "e4"]
    assert said(decoded) == [
        (1, "undecodable", "field source is null, and may not be"),
        (2, "undecodable", "field time is null, and may not be"),
    ]


@pytest.mark.parametrize(
    "extra",
    [
        {"type": "fixed", "name": "F", "size": 4},
        "bytes",
        ["null", "string", "long"],
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    ],
)
def test_fields_that_only_fastavro_reads_are_no_obstacle(extra: Any) -> None:
    newer = changed()
    newer["fields"].append({"name": "extra", "type": extra})
    filler: Any = "text" if isinstance(extra, list) else b"four"
    values = written(newer, row(1, extra=filler), row(2, extra=filler), row(3, extra=filler))
    values[1] = values[1][:-1]
    values[2] += b"?"
    decoded = decode([*values, value(4)], reading(newer))
    assert ids(decoded) == ["e1", "e4"]
    assert [(p.position, p.reason) for p in decoded.poison] == [(1, "undecodable"), (2, "trailing_bytes")]
    assert decoded.batch.slice(0, 1).equals(decode([value(1)], WRITERS).batch)


def test_names_of_records_and_order_of_fields_do_not_matter() -> None:
    other = changed()
    other["name"], other["namespace"] = "Usage", "com.example"
    other["fields"].reverse()
    decoded = decode(written(other, row(1)), reading(other))
    assert decoded.batch.equals(decode([value(1)], WRITERS).batch)


def test_a_named_type_may_be_used_twice() -> None:
    newer = changed()
    newer["fields"].append({"name": "earlier_status", "type": ["null", "spendstream.v1.UsageStatus"], "default": None})
    decoded = decode(written(newer, row(1, earlier_status="partial")), reading(newer))
    assert decoded.batch.equals(decode([value(1)], WRITERS).batch)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("nonsense", "it is not an Avro schema"),
        ('{"type": "record", "name": "R", "fields": [{"name": "x", "type": "Missing"}]}', "it is not an Avro schema"),
        ('"string"', "it is not the schema of a record"),
        (json.dumps(changed(provider=None)), "it has no field provider, which has no default"),
        (
            json.dumps(changed(time={"type": "long", "logicalType": "timestamp-millis"})),
            "its field time is timestamp-millis, and has to be timestamp-micros",
        ),
    ],
)
def test_a_schema_that_can_never_be_a_usage_event_says_why(schema: str, why: str) -> None:
    decoded = decode([confluent_prefix(5) + b"\0" * 50], WriterSchemas(lookup=lambda _: schema))
    ((_, reason, detail),) = said(decoded)
    assert reason == "unknown_schema"
    assert detail.startswith("the schema with id 5 cannot become a usage event: ")
    assert why in detail


def test_a_registry_that_does_not_answer_is_not_the_records_fault() -> None:
    def lookup(schema_id: int) -> str | None:
        raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        decode([value(0), confluent_prefix(5) + value(1)[10:]], WriterSchemas(lookup))
    assert decode([value(0)], WriterSchemas(lookup)).poison == []


def test_a_map_in_several_blocks_is_one_map() -> None:
    plain = encode_events([row(1, tags={"a": "1", "b": "2"})])[0]
    whole = b"\x04\x02a\x021\x02b\x022\x00"
    blocks = b"\x02\x02a\x021" + b"\x01\x08\x02b\x022" + b"\x00"  # the second with its size in bytes
    assert whole in plain
    decoded = decode([plain.replace(whole, blocks)], WRITERS)
    assert decoded.batch.equals(decode([plain], WRITERS).batch)


def test_counts_of_every_size_come_through_exactly() -> None:
    counts = [0, 1, 63, 64, 2**31, 2**53 + 1, 2**63 - 1, -1, -(2**63)]
    decoded = decode([value(i, input_tokens=n) for i, n in enumerate(counts)], WRITERS)
    assert decoded.batch.column("input_tokens").to_pylist() == counts
    assert decoded.positions.dtype == np.int64
