"""Which records of a batch cannot be decoded, and why. Pure.

A batch is decoded in parts that fit the processor's cache, and a part that does not decode is halved until few records
are left; those are read one by one with fastavro. What decodes on the way is kept, so that a spoilt record costs about
two readings of its part. fastavro lets some things pass that the specification does not, so its word is final only when
it refuses; what it accepts is decoded as the batch would be. A record's fate never depends on its neighbours.
"""

from dataclasses import dataclass
from io import BytesIO

import fastavro
import numpy as np
import pyarrow as pa

from schemas.codec import read_fields
from schemas.resolution import Writer
from streams.spend.columns import Undecodable, read, separated

_PART = 4_096  # records decoded in one call: fewer pay for the call, more leave the cache (half as fast at 50,000)
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
    writer: Writer, values: pa.BinaryArray, separator: bytes
) -> tuple[pa.StructArray, np.ndarray, list[Poison]]:
    """Read values whether they decode together or not: the rows, their places among them, and the poison, ascending."""
    parts, poison = [], []
    for first in range(0, len(values), _PART):
        part = separated(values.slice(first, _PART), separator)
        more_parts, more_poison = _read(writer, part, first, separator)
        parts += more_parts
        poison += more_poison
    kept = np.arange(len(values))
    if poison:
        kept = np.delete(kept, [p.position for p in poison])
    return pa.concat_arrays(parts) if parts else read(writer, values[:0], separator), kept, poison


def _read(
    writer: Writer, values: pa.BinaryArray, start: int, separator: bytes
) -> tuple[list[pa.StructArray], list[Poison]]:
    """The rows of `separated` values, part by part, and the poison, positions counted from `start`."""
    try:
        return [read(writer, values, separator)], []
    except Undecodable:
        if len(values) <= _LEAF:
            return _one_by_one(writer, values, start, separator)
    middle = len(values) // 2
    parts, poison = _read(writer, values[:middle], start, separator)
    more_parts, more_poison = _read(writer, values[middle:], start + middle, separator)
    return parts + more_parts, poison + more_poison


def _one_by_one(
    writer: Writer, values: pa.BinaryArray, start: int, separator: bytes
) -> tuple[list[pa.StructArray], list[Poison]]:
    poison, good = [], []
    for i, with_separator in enumerate(values.to_pylist()):
        value = with_separator[: -len(separator)]
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
        return [read(writer, values.take(pa.array(good)), separator)], poison
    except Undecodable:  # fastavro lets pass what the specification does not: a boolean of 2, an enum's index of -1
        rows = []
        for i in good:
            try:
                rows.append(read(writer, values[i : i + 1], separator))
            except Undecodable as exc:
                poison.append(Poison(start + i, "undecodable", str(exc)))
        return rows, sorted(poison, key=lambda p: p.position)
