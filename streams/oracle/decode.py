"""The oracle's decoder: one record at a time.

fastavro reads a record, and a walk over its bytes refuses what fastavro lets pass (a boolean of 2, an enum's index out
of range) and sees what it hides (a map that names a key twice).
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro

from schemas.codec import UnknownSchema, WriterSchemas
from schemas.resolution import Writer, row_schema

MAX_RECORD_BYTES = 256 * 1024


class DeadLetter(Exception):
    """The record must become a dead letter; the message is its reason."""


@dataclass(slots=True)
class Reading:
    """A decoded event, and the maps of it that name a key twice."""

    event: dict[str, Any]
    repeated: tuple[str, ...]


class Decoder:
    """Reads records of every schema that is known.

    Args:
        writers: the schemas.
    """

    def __init__(self, writers: WriterSchemas) -> None:
        self._writers = writers
        self._walks: dict[bytes, _Walk] = {}
        self._current: dict[bytes, bool] = {}

    def read(self, value: bytes | None) -> Reading:
        """Decode one record.

        Raises:
            DeadLetter: it cannot be read; the message is the reason.
        """
        if not value:
            raise DeadLetter("empty")
        if len(value) > MAX_RECORD_BYTES:
            raise DeadLetter("too_large")
        if value.startswith(b"\xc3\x01") and len(value) >= 10:
            prefix = value[:10]
        elif value.startswith(b"\0") and len(value) >= 5:
            prefix = value[:5]
        else:
            raise DeadLetter("undecodable")
        try:
            writer = self._writers.find(prefix)
        except UnknownSchema:
            raise DeadLetter("unknown_schema") from None
        return self._decode(writer, prefix, value)

    def _decode(self, writer: Writer, prefix: bytes, value: bytes) -> Reading:
        walk = self._walks.get(prefix)
        if walk is None:
            walk = self._walks[prefix] = _walk_of(fastavro.schema.expand_schema(writer.schema), "")
            self._current[prefix] = fastavro.schema.to_parsing_canonical_form(
                writer.schema
            ) == fastavro.schema.to_parsing_canonical_form(row_schema())
        body = BytesIO(value)
        body.seek(len(prefix))
        repeated: list[str] = []
        try:
            event = fastavro.schemaless_reader(body, writer.schema, None)
            end = body.tell()
            if not self._current[prefix]:
                body.seek(len(prefix))
                event = fastavro.schemaless_reader(body, writer.schema, row_schema())
            if walk(value, len(prefix), repeated) != end:
                raise ValueError("fastavro ends elsewhere")
        except Exception:  # whatever fastavro raises for bytes that are no record
            raise DeadLetter("undecodable") from None
        if end != len(value):
            raise DeadLetter("trailing_bytes")
        return Reading(event, tuple(repeated))  # type: ignore[arg-type]


# Walks over a value: (bytes, position, names of maps with a repeated key) -> position behind it.
_Walk = Callable[[bytes, int, list[str]], int]


def _walk_of(schema: Any, name: str) -> _Walk:
    """The walk over values of an expanded schema; at what the specification forbids: ValueError or IndexError."""
    if isinstance(schema, list):
        return _walk_union([_walk_of(branch, name) for branch in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _walk_of(kind, name)
    if kind in ("record", "error"):
        return _walk_record([_field(field["type"], field["name"]) for field in schema["fields"]])
    if kind == "map":
        return _walk_blocks(_walk_of(schema["values"], name), name)
    if kind == "array":
        return _walk_blocks(_walk_of(schema["items"], name), None)
    if kind == "enum":
        return _walk_index(len(schema["symbols"]))
    fixed = {"null": 0, "float": 4, "double": 8, "fixed": schema["size"] if kind == "fixed" else 0}
    if kind in fixed:
        size = fixed[kind]
        return lambda data, at, repeated: at + size
    return {"boolean": _walk_index(2, plain=True), "int": _walk_long, "long": _walk_long}.get(kind, _walk_bytes)


def _long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while byte & 0x80:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
    if number >= 1 << 64:
        raise ValueError("a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _walk_long(data: bytes, at: int, repeated: list[str]) -> int:
    return _long(data, at)[1]


def _walk_bytes(data: bytes, at: int, repeated: list[str]) -> int:
    length, at = _long(data, at)
    if length < 0 or at + length > len(data):
        raise ValueError("a length that leads out of the record")
    return at + length


def _walk_index(size: int, plain: bool = False) -> _Walk:
    def walk(data: bytes, at: int, repeated: list[str]) -> int:
        index, behind = (data[at], at + 1) if plain else _long(data, at)
        if not 0 <= index < size:
            raise ValueError("an index out of range")
        return behind

    return walk


def _walk_union(branches: list[_Walk]) -> _Walk:
    codes = {2 * index: branch for index, branch in enumerate(branches)}  # every union here has fewer than 64 branches

    def walk(data: bytes, at: int, repeated: list[str]) -> int:
        branch = codes.get(data[at])
        if branch is None:
            raise ValueError("a branch that the union does not have")
        return branch(data, at + 1, repeated)

    return walk


_TEXT, _NUMBER, _OTHER = range(3)  # kinds of fields that the walk over a record knows how to pass at once


def _field(schema: Any, name: str) -> tuple[bool, int, _Walk]:
    """Whether a field is null or a value, the kind of its values, and the walk over anything else."""
    optional = isinstance(schema, list) and len(schema) == 2 and schema[0] == "null"
    kind = schema[1] if optional else schema
    known = {"string": _TEXT, "long": _NUMBER, "int": _NUMBER}.get(kind, _OTHER) if isinstance(kind, str) else _OTHER
    return optional, known, _walk_of(kind, name)


def _walk_record(fields: list[tuple[bool, int, _Walk]]) -> _Walk:
    def walk(data: bytes, at: int, repeated: list[str]) -> int:
        for optional, kind, other in fields:
            if optional:
                branch = data[at]
                at += 1
                if branch == 0:
                    continue
                if branch != 2:
                    raise ValueError("a branch that the union does not have")
            first = data[at]
            if kind == _OTHER or first > 0x7F:
                at = other(data, at, repeated)
            elif kind == _NUMBER:
                at += 1
            elif first & 1:
                raise ValueError("a negative length")
            else:
                at += 1 + (first >> 1)
        return at

    return walk


def _walk_blocks(item: _Walk, map_name: str | None) -> _Walk:
    def walk(data: bytes, at: int, repeated: list[str]) -> int:
        keys = set()
        while True:
            count, at = _long(data, at)
            if count == 0:
                return at
            if count < 0:
                count, (_, at) = -count, _long(data, at)
            for _ in range(count):
                if map_name is not None:
                    start, at = at, _walk_bytes(data, at, repeated)
                    if data[start:at] in keys:
                        repeated.append(map_name)
                    keys.add(data[start:at])
                at = item(data, at, repeated)

    return walk
