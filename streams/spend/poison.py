"""Which records of a batch cannot be decoded, and why. Pure.

A batch that does not decode is cut into parts until few records are left; those are read one by one with fastavro. What
decodes on the way is kept, so that a few spoilt records cost a batch little more than a second reading. fastavro
lets some things pass that the specification does not, so its word is final only when it refuses; what it accepts is
decoded as the batch would be. A record's fate never depends on its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import fastavro
import numpy as np
import pyarrow as pa

from schemas.codec import read_fields
from schemas.resolution import Writer
from streams.spend.columns import Undecodable, read

_MANY, _PARTS = 10_000, 32  # more values than so many are cut into 32 parts, fewer are halved: a call has its price
_LEAF = 64  # so few records are looked at one by one


@dataclass(frozen=True)
class Poison:
    """A record that cannot be counted.

    `position` is its place in what was given, `reason` a word of the dead letters' vocabulary, `detail` for people.
    """

    position: int
    reason: str
    detail: str


def trailing(position: int, count: int) -> Poison:
    """A record that goes on for `count` bytes after its end."""
    return Poison(position, "trailing_bytes", f"{count:,} bytes are left over after the record's end")


def read_around_poison(
    writer: Writer, values: Sequence[bytes], separator: bytes
) -> tuple[pa.StructArray, np.ndarray, list[Poison]]:
    """Read values that do not decode together: the rows, their places among the values, and the poison, ascending."""
    parts, poison = _search(writer, values, 0, separator)
    kept = np.delete(np.arange(len(values)), [p.position for p in poison])
    return pa.concat_arrays(parts) if parts else read(writer, [], separator), kept, poison


def _search(
    writer: Writer, values: Sequence[bytes], start: int, separator: bytes
) -> tuple[list[pa.StructArray], list[Poison]]:
    """The rows, part by part, and the poison, positions counted from `start`."""
    if len(values) <= _LEAF:
        return _one_by_one(writer, values, start, separator)
    parts, poison = [], []
    size = -(-len(values) // (_PARTS if len(values) > _MANY else 2))
    for first in range(0, len(values), size):
        part = values[first : first + size]
        try:
            parts.append(read(writer, part, separator))
        except Undecodable:
            more_parts, more_poison = _search(writer, part, start + first, separator)
            parts += more_parts
            poison += more_poison
    return parts, poison


def _one_by_one(
    writer: Writer, values: Sequence[bytes], start: int, separator: bytes
) -> tuple[list[pa.StructArray], list[Poison]]:
    poison, good = [], []
    for i, value in enumerate(values):
        body = BytesIO(value)
        body.seek(len(writer.prefix))
        try:
            fastavro.schemaless_reader(body, writer.schema, None)
            left = len(value) - body.tell()
        except Exception as exc:
            poison.append(Poison(start + i, "undecodable", read_fields(writer, value)[1] or str(exc)))
            continue
        if left:
            poison.append(trailing(start + i, left))
        else:
            good.append(i)
    if not good:
        return [], poison
    try:
        return [read(writer, [values[i] for i in good], separator)], poison
    except Undecodable:  # fastavro lets pass what the specification does not: a boolean of 2, an enum's index of -1
        rows = []
        for i in good:
            try:
                rows.append(read(writer, [values[i]], separator))
            except Undecodable as exc:
                poison.append(Poison(start + i, "undecodable", str(exc)))
        return rows, sorted(poison, key=lambda p: p.position)
