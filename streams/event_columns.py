"""The fields of a usage event as columns: what each holds, and how said values become an event's.

All of it follows from schemas/usage_event.avsc.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from schemas.priced import usage_event_arrow, usage_event_avsc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = 2**63

Kind = Literal["text", "whole number", "true or false", "time", "one of", "whole numbers", "texts"]
Value = str | int | bool | dict[str, Any] | None


@dataclass(frozen=True)
class Column:
    """A field of the usage event as a column: what it holds and what it means."""

    name: str
    kind: Kind
    required: bool
    doc: str
    symbols: tuple[str, ...] = ()
    default: Value = None

    @property
    def holds(self) -> str:
        """The kind in words, for help and for reasons."""
        return f"one of {', '.join(self.symbols)}" if self.symbols else self.kind


@lru_cache
def columns() -> dict[str, Column]:
    """The columns that CSV and JSON lines may have, by name, in the schema's order."""
    return {f["name"]: _column(f) for f in json.loads(usage_event_avsc())["fields"]}


def _column(avro: dict[str, Any]) -> Column:
    kind = avro["type"]
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    required, default, doc = "default" not in avro, avro.get("default"), avro["doc"]
    if isinstance(kind, str):
        named: dict[str, Kind] = {"string": "text", "long": "whole number", "boolean": "true or false"}
        return Column(avro["name"], named[kind], required, doc, default=default)
    if kind["type"] == "enum":
        return Column(avro["name"], "one of", required, doc, tuple(kind["symbols"]), default)
    if kind["type"] == "map":
        of: Kind = "whole numbers" if kind["values"] == "long" else "texts"
        return Column(avro["name"], of, required, doc, default=default)
    return Column(avro["name"], "time", required, doc, default=default)


def event_batch(given: Mapping[str, pa.Array], rows: int) -> pa.RecordBatch:
    """Usage events from the columns given; the others get the schema's defaults.

    Args:
        given: arrays of `rows` values by field name, each of the field's Arrow type or one that casts to it.
        rows: number of events.
    """
    return pa.record_batch(
        [
            given[f.name].cast(f.type) if f.name in given else _default(f.type, rows, columns()[f.name].default)
            for f in usage_event_arrow()
        ],
        schema=usage_event_arrow(),
    )


def record_keys(batch: pa.RecordBatch) -> list[bytes]:
    """The keys of the events' records, source:id."""
    joined = pc.binary_join_element_wise(batch.column("source"), batch.column("id"), ":")
    return joined.cast(pa.binary()).to_pylist()


def with_texts(batch: pa.RecordBatch, field: str, of: Callable[[list[str]], Mapping[str, str]]) -> pa.RecordBatch:
    """The events with texts of a field in place of others.

    Args:
        batch: schema `usage_event_arrow()`.
        field: the name of a text field.
        of: is given the field's distinct texts that are not empty; what it leaves out stays as it is.
    """
    place = batch.schema.get_field_index(field)
    column = batch.column(place)
    found = of([text for text in pc.unique(column).to_pylist() if text])
    if not found:
        return batch
    index = pc.index_in(column, value_set=pa.array(list(found)))
    return batch.set_column(
        place, batch.schema.field(field), pc.coalesce(pa.array(list(found.values())).take(index), column)
    )


def _default(kind: pa.DataType, rows: int, value: Value) -> pa.Array:
    if isinstance(value, str):
        return pa.repeat(pa.scalar(value, kind), rows)
    return pa.array([[]] * rows, kind) if pa.types.is_map(kind) else pa.nulls(rows, kind)


def is_entry(name: str) -> bool:
    """Whether it names an entry of a map, such as tags.x."""
    of, dot, key = name.partition(".")
    return bool(dot and key) and of in columns() and columns()[of].kind in ("whole numbers", "texts")


def event_of(row: Mapping[str, Any]) -> dict[str, Value]:
    """The event that a line says: values by field, times in microseconds since 1970, nulls left out.

    Raises:
        ValueError: a field is unknown, missing or holds what it cannot; the message is the reason.
    """
    event: dict[str, Value] = {}
    maps: dict[str, dict[str, Any]] = {}
    known = columns()
    for name, value in row.items():
        if value is None:
            continue
        column = known.get(name)
        if column is None:
            if not is_entry(name):
                raise ValueError(f"{name}: an event has no such field")
            of, _, key = name.partition(".")
            maps.setdefault(of, {})[key] = value
        elif column.kind in ("whole numbers", "texts"):
            maps.setdefault(name, {}).update(_entries(name, value))
        else:
            event[name] = _converted(column, name, value)
    for name, entries in maps.items():
        one = Column(name, "whole number" if known[name].kind == "whole numbers" else "text", False, "")
        event[name] = {_text(name, key): _converted(one, f"{name}.{key}", value) for key, value in entries.items()}
    for name, column in known.items():
        if column.required and event.get(name, "") == "":
            raise ValueError(f"{name} is missing")
    return event


def _entries(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: {_shown(value)} is not an object, or a column such as {name}.x")
    return value


def _converted(column: Column, name: str, value: Any) -> Value:
    if column.symbols:
        if value not in column.symbols:
            raise ValueError(f"{name}: {_shown(value)} is not {column.holds}")
        return str(value)
    return CONVERTERS[column.kind](name, value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name}: {_shown(value)} is not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValueError(f"{name}: is not UTF-8 text") from exc
    return value


def _whole(name: str, value: Any) -> int:
    try:
        number = value if isinstance(value, int) else int(str(value).strip())
    except ValueError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name}: {_shown(value)} is not a whole number")
    if not -INT64 <= number < INT64:
        raise ValueError(f"{name}: {_shown(value)} does not fit in 64 bits")
    return number


def _truth(name: str, value: Any) -> bool:
    said = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(value).lower())
    if said is None:
        raise ValueError(f"{name}: {_shown(value)} is not true or false")
    return said


def _time(name: str, value: Any) -> int:
    """Microseconds since 1970 of ISO 8601 text (UTC where it names no zone) or of seconds, ms or us since 1970."""
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, str) and not _is_number(value):
            said = datetime.fromisoformat(value.strip())
            return ((said if said.tzinfo else said.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
        number = Decimal(value)
        # The unit follows from the size: in any one of them, other units' numbers lie millennia away.
        scale = next(scale for limit, scale in ((10**11, 10**6), (10**14, 10**3), (10**17, 1)) if abs(number) < limit)
        return int(number * scale)
    except (ValueError, TypeError, OverflowError, InvalidOperation, StopIteration):
        raise ValueError(f"{name}: {_shown(value)} is not a time: ISO 8601, or seconds, ms or us since 1970") from None


def _is_number(text: str) -> bool:
    return text.strip().lstrip("-").replace(".", "", 1).isdigit()


def _shown(value: Any) -> str:
    shown = repr(str(value) if isinstance(value, Decimal) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


CONVERTERS: dict[Kind, Callable[[str, Any], Value]] = {
    "text": _text,
    "whole number": _whole,
    "true or false": _truth,
    "time": _time,
}


def batch_of(events: list[dict[str, Value]]) -> pa.RecordBatch:
    """Events as `event_of` gives them, as one batch of schema usage_event_arrow()."""
    given: dict[str, pa.Array] = {}
    present = set().union(*events) if events else set()
    for f in usage_event_arrow():
        if f.name not in present:
            continue
        default = columns()[f.name].default
        values: list[Any] = [event.get(f.name, default) for event in events]
        if pa.types.is_map(f.type):
            values = [list(value.items()) for value in values]
        given[f.name] = (
            pa.array(values, pa.int64()).cast(f.type) if f.type == pa.timestamp("us") else pa.array(values, f.type)
        )
    return event_batch(given, len(events))
