"""Which records of a batch cannot be decoded, and why. Pure.

A batch that does not decode is halved until few records are left; those are read one by one with fastavro. fastavro
lets some things pass that the specification does not, so its word is final only when it refuses; what it accepts is
decoded as the batch would be. A record's fate never depends on its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import fastavro

from schemas.codec import read_fields
from schemas.resolution import Writer
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


def trailing(position: int, count: int) -> Poison:
    """A record that goes on for `count` bytes after its end."""
    return Poison(position, "trailing_bytes", f"{count:,} bytes are left over after the record's end")


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
        except Exception as exc:
            poison.append(Poison(start + i, "undecodable", read_fields(writer, value)[1] or str(exc)))
            continue
        if left:
            poison.append(trailing(start + i, left))
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
