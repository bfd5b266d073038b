"""Native blocks as newer clients of the HTTP interface want them (`client_protocol_version`), clickhouse-go among them.

The engine writes Native for revision 0. From revision 54454 on a block begins with its info, and each column's type is
followed by a flag (custom serialization, always no here). To find where a column ends its values are stepped over.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

CUSTOM_SERIALIZATION = 54454  # the first revision with the flag
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # 1: no overflows, 2: no bucket, end
_WIDTHS = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Decimal64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6", "Decimal128"), 16),
    **dict.fromkeys(("UInt256", "Int256", "Decimal256"), 32),
}
_ELEMENT_NAME = re.compile(r"(?:`(?:\\.|[^`\\])*`|\w+) (?=\w)")
_ADDITIONAL_KEYS = 1 << 9


class UnknownLayout(ValueError):
    """A type whose values this module cannot step over."""


@dataclass(frozen=True)
class Kind:
    """A type: its name and what stands in its parentheses, as types."""

    name: str
    width: int = 0
    inner: tuple["Kind", ...] = ()


def for_revision(pieces: Iterable[bytes], revision: int) -> Iterator[bytes]:
    """The engine's Native blocks, each piece one or more whole ones, as revision `revision` has them.

    Raises:
        UnknownLayout: a column is of a type that cannot be stepped over.
    """
    if revision < CUSTOM_SERIALIZATION:
        yield from pieces
        return
    for piece in pieces:
        at = 0
        parts: list[bytes | memoryview] = []
        view = memoryview(piece)
        while at < len(piece):
            parts.append(_BLOCK_INFO)
            begin = at
            columns, at = _varint(piece, at)
            rows, at = _varint(piece, at)
            for _ in range(columns):
                size, at = _varint(piece, at)
                size, at = _varint(piece, at + size)
                kind = kind_of(piece[at : at + size].decode())
                at += size
                parts += (view[begin:at], b"\0")
                begin = at
                if rows:
                    at = _values(kind, piece, _prefix(kind, piece, at), rows)
            parts.append(view[begin:at])
        yield b"".join(parts)


@lru_cache(1024)
def kind_of(text: str) -> Kind:
    """The type that ClickHouse writes as `text`.

    Raises:
        UnknownLayout: its values cannot be stepped over.
    """
    name, _, rest = text.partition("(")
    arguments = _split(rest[:-1]) if rest else []
    if name in _WIDTHS:
        return Kind(name, _WIDTHS[name])
    match name:
        case "String":
            return Kind(name)
        case "FixedString":
            return Kind(name, int(arguments[0]))
        case "Decimal":
            precision = int(arguments[0])
            return Kind(name, next(width for most, width in ((9, 4), (18, 8), (38, 16), (76, 32)) if precision <= most))
        case "Nullable" | "Array" | "LowCardinality":
            return Kind(name, 0, (kind_of(arguments[0]),))
        case "Tuple" if arguments == [""]:
            return Kind(name, 1)
        case "Tuple" | "Map":
            return Kind(name, 0, tuple(kind_of(_ELEMENT_NAME.sub("", part, count=1)) for part in arguments))
        case "Nested":
            return Kind("Array", 0, (kind_of(f"Tuple({', '.join(arguments)})"),))
        case "SimpleAggregateFunction":
            return kind_of(arguments[1])
    if name.startswith("Interval"):
        return Kind(name, 8)
    raise UnknownLayout(f"Native with client_protocol_version cannot be written for the type {text}")


def _split(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for token in re.finditer(r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|[(),]", text):
        if token.group() == "(":
            depth += 1
        elif token.group() == ")":
            depth -= 1
        elif token.group() == "," and depth == 0:
            parts.append(text[begin : token.start()])
            begin = token.end()
    return [part.strip() for part in (*parts, text[begin:])]


def _prefix(kind: Kind, data: bytes, at: int) -> int:
    if kind.name == "LowCardinality":
        return at + 8  # the version of its keys
    for inner in kind.inner:
        at = _prefix(inner, data, at)
    return at


def _values(kind: Kind, data: bytes, at: int, rows: int) -> int:
    if kind.width:
        return at + kind.width * rows
    match kind.name:
        case "String":
            for _ in range(rows):
                size = data[at]
                at += 1
                if size > 127:
                    size, at = _varint(data, at - 1)
                at += size
            return at
        case "Nullable":
            return _values(kind.inner[0], data, at + rows, rows)
        case "LowCardinality":
            return _low_cardinality(kind.inner[0], data, at) if rows else at
        case "Array" | "Map":
            end = at + 8 * rows
            rows = struct.unpack_from("<Q", data, end - 8)[0] if rows else 0
            at = end
    for inner in kind.inner:
        at = _values(inner, data, at, rows)
    return at


def _low_cardinality(kind: Kind, data: bytes, at: int) -> int:
    flags = struct.unpack_from("<Q", data, at)[0]
    at += 8
    if flags & _ADDITIONAL_KEYS:
        keys = struct.unpack_from("<Q", data, at)[0]
        # A nullable dictionary keeps null as a key of its own, without a map of nulls.
        at = _values(kind.inner[0] if kind.name == "Nullable" else kind, data, at + 8, keys)
    rows = struct.unpack_from("<Q", data, at)[0]
    width: int = 1 << (flags & 0xFF)
    return at + 8 + width * int(rows)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return value, at
        shift += 7
