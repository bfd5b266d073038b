"""Which records of a batch cannot be decoded, and why. Pure.

A batch that does not decode is halved until few records are left; those are read one by one with fastavro. fastavro
lets some things pass that the specification does not, so its word is final only when it refuses; what it accepts is
decoded as the batch would be. A record's fate never depends on its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro

from schemas.resolution import Writer, row_schema
from streams.spend.columns import Undecodable, read

_LEAF = 64  # so few records are looked at one by one


@dataclass(frozen=True)
class Poison:
    """A record that cannot be counted.

    `position` is its place in what was given, `reason` a word of the dead letters' vocabulary, `detail` for people.
    """

    position: int
    reason: str
    detail: str


def find_poison(writer: Writer, values: Sequence[bytes], start: int, separator: bytes) -> list[Poison]:
    """The poison among values that do not decode together, positions counted from `start`."""
    if len(values) <= _LEAF:
        return _one_by_one(writer, values, start, separator)
    poison: list[Poison] = []
    half = len(values) // 2
    for first, part in ((start, values[:half]), (start + half, values[half:])):
        try:
            read(writer, part, separator)
        except Undecodable:
            poison += find_poison(writer, part, first, separator)
    return poison


def _one_by_one(writer: Writer, values: Sequence[bytes], start: int, separator: bytes) -> list[Poison]:
    poison, good = [], []
    for i, value in enumerate(values):
        body = BytesIO(value)
        body.seek(len(writer.prefix))
        try:
            fastavro.schemaless_reader(body, writer.schema, None)
            left = len(value) - body.tell()
        except Exception:
            poison.append(Poison(start + i, "undecodable", explain(writer, value)))
            continue
        if left:
            poison.append(Poison(start + i, "trailing_bytes", f"{left:,} bytes are left over after the record's end"))
        else:
            good.append(i)
    try:
        read(writer, [values[i] for i in good], separator)
    except Undecodable:  # fastavro lets pass what the specification does not: a boolean of 2, an enum's index of -1
        for i in good:
            try:
                read(writer, [values[i]], separator)
            except Undecodable as exc:
                poison.append(Poison(start + i, "undecodable", str(exc)))
    return poison


def read_fields(writer: Writer, value: bytes) -> tuple[dict[str, Any], str | None]:
    """As many fields of a record as can be read, by the writer's names, and what is wrong after them (None: nothing)."""
    body = BytesIO(value)
    body.seek(len(writer.prefix))
    fields: dict[str, Any] = {}
    for name, schema in writer.fields:
        at = body.tell()
        try:
            fields[name] = fastavro.schemaless_reader(body, schema, None)
        except Exception as exc:
            why = "its bytes end" if isinstance(exc, EOFError) else f"it is not valid ({exc})"
            return fields, f"field {name} (byte {at} of {len(value)}): {why}"
    left = len(value) - body.tell()
    return fields, f"{left:,} bytes are left over after the record's end" if left else None


def explain(writer: Writer, value: bytes) -> str:
    """Where and why a record cannot be read, for a person."""
    return read_fields(writer, value)[1] or "it is not a record of its schema"


def _resolve_one_by_one(writer: Writer, values: Sequence[bytes]) -> tuple[pa.RecordBatch, np.ndarray, list[Poison]]:
    """Records of a schema that only fastavro can read, resolved by it against the current one."""
    events, kept, poison = [], [], []
    for i, value in enumerate(values):
        body = BytesIO(value)
        body.seek(len(writer.prefix))
        try:
            event = fastavro.schemaless_reader(body, writer.schema, row_schema())
        except Exception as exc:
            poison.append(Poison(i, "undecodable", read_fields(writer, value)[1] or str(exc)))
            continue
        if left := len(value) - body.tell():
            poison.append(Poison(i, "trailing_bytes", f"{left:,} bytes are left over after the record's end"))
            continue
        events.append(event)
        kept.append(i)
    schema = usage_event_arrow()
    arrays = [pa.array([_items(event[f.name]) for event in events], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema), np.array(kept, np.int64), poison
