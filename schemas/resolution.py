"""How records of one writer's schema become columns of the current UsageEvent (Avro's schema resolution, in Arrow).

Fields that the writer does not know take their defaults, fields that only the writer knows are dropped, `int` becomes
`long`, an enum symbol that is not known becomes the enum's default. What Arrow cannot do so (bytes, fixed, unions of
several types) is left to fastavro, one record at a time: right, and slow.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fastavro
from fastavro.schema import expand_schema

from schemas.priced import usage_event_avsc
from schemas.wire import CONFLUENT_SIZE, without

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "string"})
# the prefix as Avro fields, so that no record has to be copied to lose it: C3 01 is one long, 00 is one boolean
_PREFIX_TYPES = {CONFLUENT_SIZE: ("boolean", "float")}
_SINGLE_OBJECT_TYPES = ("long", "double")

_NAME = {"name": "UsageEvent", "namespace": "spendstream.v1"}  # a writer may call the record what it likes


class Unresolvable(ValueError):
    """Records of this schema can never become usage events; the message says why."""


@dataclass(frozen=True)
class Column:
    """Where a field of the current UsageEvent comes from.

    `index` is the field's place among the writer's, None when the writer does not know it and all rows take `default`.
    `symbols` are given when the writer's enum has others: those become `fallback`, or cannot be read when it is None.
    """

    name: str
    index: int | None
    default: Any = None
    symbols: tuple[str, ...] | None = None
    fallback: str | None = None


@dataclass(frozen=True)
class Writer:
    """A writer's schema, resolved against the current one.

    Attributes:
        prefix: what all its records start with.
        joined: Avro schema for pyruhvro of an array of records, each with its prefix before and a separator of 8 bytes
            after it; None when fastavro has to read them.
        skip: fields of the prefix, which precede the writer's own in `joined`.
        columns: one for each field of the current UsageEvent, in its order.
        schema: for fastavro, parsed; times are whole numbers.
        fields: the writer's fields in order, each with its schema for fastavro.
    """

    prefix: bytes
    joined: str | None
    skip: int
    columns: tuple[Column, ...]
    schema: Any
    fields: tuple[tuple[str, Any], ...]


@lru_cache
def row_schema() -> Any:
    """The current UsageEvent for fastavro, parsed; times are whole microseconds since 1970."""
    return fastavro.parse_schema(without(json.loads(usage_event_avsc()), "doc", "logicalType"))


def resolve(schema: str, prefix: bytes) -> Writer:
    """Work out how to read records that start with `prefix` and were written with `schema`.

    Raises:
        Unresolvable: it is no record schema, or it lacks what the current UsageEvent requires.
    """
    try:
        plain = without(json.loads(schema), "doc")
        expanded: Any = expand_schema(plain)
        bare = without(plain, "logicalType")
        bare_expanded: Any = expand_schema(bare)
        parsed = fastavro.parse_schema({**bare, **_NAME} if isinstance(bare, dict) else bare)
    except Exception as exc:
        raise Unresolvable(f"it is not an Avro schema: {exc}") from exc
    if not isinstance(expanded, dict) or expanded.get("type") not in ("record", "error"):
        raise Unresolvable("it is not the schema of a record")
    columns = _columns(expanded["fields"])
    bare_fields = bare_expanded["fields"]
    joined = None
    if columns is not None and all(_columnar(f["type"]) for f in bare_fields):
        joined = _joined(bare, prefix)
    return Writer(
        prefix=prefix,
        joined=joined,
        skip=2,
        columns=columns or (),
        schema=parsed,
        fields=tuple((f["name"], fastavro.parse_schema(f["type"])) for f in bare_fields),
    )


def _columns(fields: list[Any]) -> tuple[Column, ...] | None:
    """The plan for each field of the current UsageEvent; None when a type needs fastavro."""
    places = {field["name"]: (index, field["type"]) for index, field in enumerate(fields)}
    columns: list[Column | None] = []
    for field in json.loads(usage_event_avsc())["fields"]:
        name = field["name"]
        if name in places:
            index, written = places[name]
            columns.append(_column(name, index, written, field["type"]))
        elif "default" in field:
            columns.append(Column(name, None, field["default"]))
        else:
            raise Unresolvable(f"it has no field {name}, which has no default")
    return None if None in columns else tuple(c for c in columns if c is not None)


def _column(name: str, index: int, written: Any, wanted: Any) -> Column | None:
    theirs, ours = _shape(written), _shape(wanted)
    assert ours is not None
    time = _bare(wanted).get("logicalType") if isinstance(_bare(wanted), dict) else None
    given = _bare(written).get("logicalType") if isinstance(_bare(written), dict) else None
    if time is not None and given not in (None, time):
        raise Unresolvable(f"its field {name} is {given}, and has to be {time}")
    if theirs != ours:
        return None
    if ours != "enum":
        return Column(name, index)
    symbols, known = _bare(written)["symbols"], _bare(wanted)["symbols"]
    if set(symbols) <= set(known):
        return Column(name, index)
    return Column(name, index, symbols=tuple(known), fallback=_bare(wanted).get("default"))


def _bare(kind: Any) -> Any:
    """The type beside null in a union of two; any other type as it is."""
    if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
        return kind[1] if kind[0] == "null" else kind[0]
    return kind


def _shape(kind: Any) -> str | None:
    """What Arrow makes of a type, whether nullable or not; None for what the UsageEvent does not have."""
    kind = _bare(kind)
    if isinstance(kind, dict):
        if kind["type"] == "map":
            values = _shape(kind["values"]) if not isinstance(kind["values"], list) else None
            return values and f"map of {values}"
        kind = kind["type"]
    if kind == "int":
        return "long"
    return kind if kind in ("boolean", "long", "string", "enum") else None


def _columnar(kind: Any) -> bool:
    """Whether pyruhvro reads this type (it panics on bytes, fixed and the like)."""
    if isinstance(kind, list):
        return len(kind) == 2 and "null" in kind and _columnar(_bare(kind))
    if isinstance(kind, dict):
        inner = kind["type"]
        if inner == "enum":
            return True
        if inner == "map":
            return _columnar(kind["values"])
        if inner == "array":
            return _bare(kind["items"]) != "null" and _columnar(kind["items"])
        if inner in ("record", "error"):
            return bool(kind["fields"]) and all(_columnar(f["type"]) for f in kind["fields"])
        return _columnar(inner)
    return kind in _PRIMITIVES


def _joined(record: dict[str, Any], prefix: bytes) -> str:
    """The schema of many records in one buffer: prefix, fields, separator."""
    first, second = _PREFIX_TYPES.get(len(prefix), _SINGLE_OBJECT_TYPES)
    fields = [
        {"name": "prefix_start", "type": first},
        {"name": "prefix_schema", "type": second},
        *_wide(record["fields"]),
        {"name": "separator", "type": "double"},
    ]
    items = {**record, "fields": fields}
    return json.dumps(
        {"type": "record", "name": "SpendstreamJoined", "fields": [{"name": "records", "type": _array(items)}]}
    )


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _wide(kind: Any) -> Any:
    """`int` as `long`: the same on the wire, and pyruhvro cuts an int that is too great instead of refusing it."""
    if isinstance(kind, list):
        return [_wide(item) for item in kind]
    if isinstance(kind, dict):
        return {
            key: _wide(value) if key in ("type", "items", "values", "fields") else value for key, value in kind.items()
        }
    return "long" if kind == "int" else kind
