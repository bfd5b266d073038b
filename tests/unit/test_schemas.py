"""The usage event is written once, in Avro; everything else is held to it, and what was published never changes."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
import pytest
from pydantic import AwareDatetime, ValidationError

import schemas
from schemas.priced import usage_event_arrow, usage_event_avsc
from schemas.usage_event import UsageEvent, event_key, micros, new_id, to_row
from schemas.wire import fingerprint, published, single_object_prefix

FOLDER = Path(schemas.__path__[0])
AVRO = json.loads(usage_event_avsc())["fields"]
ARROW_TYPES = {
    "string": pa.string(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "enum": pa.string(),
    "timestamp-micros": pa.timestamp("us"),
    "map of long": pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False)),
    "map of string": pa.map_(pa.string(), pa.field("value", pa.string(), nullable=False)),
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(**changes: Any) -> UsageEvent:
    given = {"source": "gw", "time": NOON, "provider": "openai", "request_model": "gpt-5-mini", "operation": "chat"}
    return UsageEvent(**{**given, **changes})


def kind(avro: Any) -> tuple[str, bool]:
    """An Avro type in a word, and whether it may be null."""
    nullable = isinstance(avro, list)
    if nullable:
        (avro,) = [branch for branch in avro if branch != "null"]
    if isinstance(avro, dict):
        avro = avro.get("logicalType") or (f"map of {avro['values']}" if avro["type"] == "map" else avro["type"])
    return avro, nullable


def symbols(avro: Any) -> tuple[str, ...]:
    (enum,) = [b for b in (avro if isinstance(avro, list) else [avro]) if isinstance(b, dict)]
    return tuple(enum["symbols"])


def test_published_schemas_are_frozen() -> None:
    frozen = json.loads((FOLDER / "frozen.json").read_text())
    for entry in frozen:
        content = (FOLDER / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], (
            f"{entry['file']} was published and must not change: keep it under another name with its entry in "
            "schemas/frozen.json, and give the changed schema a version and an entry of its own"
        )
        assert fingerprint(content.decode()).hex() == entry["fingerprint"]
    assert [entry["version"] for entry in frozen] == list(range(1, len(frozen) + 1))
    assert frozen[-1]["file"] == "usage_event.avsc"
    assert {entry["file"] for entry in frozen} == {path.name for path in FOLDER.glob("*.avsc")}
    assert published()[-1] == usage_event_avsc()


def test_no_two_published_schemas_look_alike_on_the_wire() -> None:
    assert len({single_object_prefix(schema) for schema in published()}) == len(published())


def test_the_fingerprint_is_avros() -> None:
    # Apache Avro's schema-tests.txt: the fingerprint of "null" is 7195948357588979594
    assert int.from_bytes(fingerprint('"null"'), "little") == 7195948357588979594


def test_the_fingerprint_is_that_of_the_canonical_form() -> None:
    documented = (
        '{"type":"record","doc":"d","name":"R","namespace":"n","fields":[{"name":"a","type":"int","default":1}]}'
    )
    plain = '{"name":"n.R","type":"record","fields":[{"name":"a","type":"int"}]}'
    assert fingerprint(documented) == fingerprint(plain)


def test_arrow_has_avros_fields() -> None:
    arrow = usage_event_arrow()
    assert arrow.names == [field["name"] for field in AVRO]
    for field in AVRO:
        word, nullable = kind(field["type"])
        assert arrow.field(field["name"]).type == ARROW_TYPES[word], field["name"]
        assert arrow.field(field["name"]).nullable == nullable, field["name"]


@pytest.mark.parametrize("field", AVRO, ids=lambda field: field["name"])
def test_pydantic_has_avros_field(field: dict[str, Any]) -> None:
    ours = UsageEvent.model_fields[field["name"]]
    word, nullable = kind(field["type"])
    annotation = ours.annotation
    branches = get_args(annotation) if type(None) in get_args(annotation) else (annotation,)
    assert (type(None) in branches) == nullable
    (inner,) = [branch for branch in branches if branch is not type(None)]
    while hasattr(inner, "__metadata__"):
        inner = get_args(inner)[0]
    if word == "enum":
        assert get_args(inner) == symbols(field["type"])
        assert get_origin(inner) is Literal
    elif word.startswith("map of"):
        assert get_origin(inner) is dict
    else:
        expected = {"string": str, "long": int, "boolean": bool, "timestamp-micros": AwareDatetime}
        assert inner in (expected[word], datetime)
    if field["name"] == "id":
        assert ours.default_factory is not None, "the producer library mints it"
    elif "default" in field:
        assert ours.get_default(call_default_factory=True) == field["default"]
    else:
        assert ours.is_required()


def test_pydantic_has_avros_order_and_no_more() -> None:
    assert list(UsageEvent.model_fields) == [field["name"] for field in AVRO]


def test_an_event_is_minted_an_id_that_sorts_by_time() -> None:
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)
    assert all(i[14] == "7" and i[19] in "89ab" for i in ids), "RFC 9562: version 7, variant 10"
    assert event().id != event().id


def test_an_event_cannot_be_changed_or_have_other_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event().provider = "anthropic"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        event(prompt="what is said to a model is nobody's business")


def test_times_are_exact_to_the_microsecond_in_every_zone() -> None:
    at = datetime(2026, 3, 1, 13, 0, 0, 123457, tzinfo=timezone(timedelta(hours=1)))
    assert to_row(event(time=at))["time"] == micros(at) == 1_772_366_400_123_457


def test_the_key_of_a_record_is_source_and_id() -> None:
    assert event(id="a1").key == event_key("gw", "a1") == b"gw:a1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"time": datetime(2026, 3, 1, 12)}, "timezone info"),
        ({"time": 1_772_366_400}, "never a number"),
        ({"start_time": 1.5}, "never a number"),
        ({"input_tokens": 10.0}, "valid integer"),
        ({"input_tokens": True}, "valid integer"),
        ({"stream": 1}, "valid boolean"),
        ({"usage_status": "done"}, "'final'"),
        ({"cache_outcome": ""}, "'hit'"),
        ({"quantities": {"gpu_second": -1}}, "greater than or equal to 0"),
        ({"customer": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_an_event_that_is_no_event_is_refused_at_once(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        event(**changes)
