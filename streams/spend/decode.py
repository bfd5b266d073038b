"""Records to columns: a batch of Avro values in either wire format becomes one record batch of usage events. Pure.

Values are grouped by the schema that wrote them, each group is decoded in one call, and a group that does not decode is
searched for its poison; the rest goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import fastavro
import numpy as np
import pyarrow as pa

from schemas.bounds import MAX_RECORD_BYTES
from schemas.codec import UnknownSchema, WriterSchemas, read_fields
from schemas.priced import usage_event_arrow
from schemas.resolution import Writer, row_schema
from schemas.wire import prefix_size
from streams.spend.columns import align
from streams.spend.poison import Poison, read_around_poison, trailing
from streams.spend.records import binary_bounds, binary_data

__all__ = ["MAX_BATCH_BYTES", "Decoded", "Poison", "decode"]

MAX_BATCH_BYTES = 1 << 30  # columns have 32-bit offsets


@dataclass(frozen=True)
class Decoded:
    """What became of a list of values: every position is either in `positions` or in `poison`, never in both.

    Attributes:
        batch: the events, schema `usage_event_arrow()`, in the order of the values.
        positions: int64 of shape (rows,): the place of each row among the values, ascending.
        poison: the others, ascending by position.
    """

    batch: pa.RecordBatch
    positions: np.ndarray
    poison: list[Poison]


def decode(values: pa.BinaryArray | Sequence[bytes | None], writers: WriterSchemas) -> Decoded:
    """Decode the values of a batch. Whether a record decodes depends on nothing but itself.

    Args:
        values: records with their prefixes, null for a tombstone; together less than `MAX_BATCH_BYTES`.
        writers: the schemas that can be read.

    Raises:
        ValueError: the values are more than `MAX_BATCH_BYTES` together.
        streams.errors.Unreachable: a schema is not known yet and the registry does not answer.
    """
    if not isinstance(values, pa.Array):
        size = sum(len(value) for value in values if value is not None)
        _refuse_too_many(size)
        values = pa.array(values, pa.binary())
    groups, poison = _group(values, writers)
    batches, places = [], []
    for writer, positions in groups:
        chosen = values if len(positions) == len(values) else values.take(pa.array(positions))
        batch, kept, bad = _decode_group(writer, chosen, writers.separator)
        poison += [Poison(int(positions[p.position]), p.reason, p.detail) for p in bad]
        batches.append(batch)
        places.append(positions[kept])
    poison.sort(key=lambda p: p.position)
    if len(batches) == 1:
        return Decoded(batches[0], places[0], poison)
    if not batches:
        return Decoded(pa.RecordBatch.from_pylist([], schema=usage_event_arrow()), np.empty(0, np.int64), poison)
    joined, order = pa.concat_batches(batches), np.concatenate(places)
    ascending = np.argsort(order, kind="stable")
    return Decoded(joined.take(pa.array(ascending)), order[ascending], poison)


def _refuse_too_many(size: int) -> None:
    if size > MAX_BATCH_BYTES:
        raise ValueError(f"a batch of {size:,} bytes: take at most {MAX_BATCH_BYTES:,} together")


def _group(values: pa.BinaryArray, writers: WriterSchemas) -> tuple[list[tuple[Writer, np.ndarray]], list[Poison]]:
    """Positions by the schema that wrote them, and what names none.

    What bears the first value's prefix, mostly all, is gathered without a closer look.
    """
    if not len(values):
        return [], []
    bounds = binary_bounds(values)
    _refuse_too_many(int(bounds[-1] - bounds[0]))
    by_prefix: dict[bytes, np.ndarray] = {}
    poison = []
    first = values[0].as_py() or b""
    common = first[: prefix_size(first)]
    alike = _begin_with(common, values, bounds) if common else np.zeros(len(values), bool)
    if alike.any():
        by_prefix[common] = np.flatnonzero(alike)
    others: dict[bytes, list[int]] = {}
    for i in np.flatnonzero(~alike).tolist():
        value = values[i].as_py()
        if not value:
            poison.append(Poison(i, "empty", "a tombstone" if value is None else "no bytes at all"))
        elif len(value) > MAX_RECORD_BYTES:
            poison.append(Poison(i, "too_large", f"{len(value):,} bytes; a record has at most {MAX_RECORD_BYTES:,}"))
        elif size := prefix_size(value):
            others.setdefault(value[:size], []).append(i)
        else:
            poison.append(
                Poison(
                    i,
                    "undecodable",
                    f"begins with {value[:4].hex(' ')}: neither Avro single-object encoding (c3 01 "
                    "and a fingerprint) nor Confluent framing (00 and a schema id)",
                )
            )
    groups = []
    for prefix, positions in (*by_prefix.items(), *((each, np.array(some)) for each, some in others.items())):
        try:
            groups.append((writers.find(prefix), positions))
        except UnknownSchema as exc:
            poison += [Poison(i, "unknown_schema", str(exc)) for i in positions.tolist()]
    return groups, poison


def _begin_with(prefix: bytes, values: pa.BinaryArray, bounds: np.ndarray) -> np.ndarray:
    """Which values begin with the prefix and are not too large."""
    lengths = np.diff(bounds)
    found = (lengths >= len(prefix)) & (lengths <= MAX_RECORD_BYTES)
    if values.null_count:
        found &= values.is_valid().to_numpy(zero_copy_only=False)
    data, starts = binary_data(values), bounds[:-1][found]
    same = np.ones(len(starts), bool)
    for place, byte in enumerate(prefix):
        same &= data[starts + place] == byte
    found[found] = same
    return found


def _decode_group(
    writer: Writer, values: pa.BinaryArray, separator: bytes
) -> tuple[pa.RecordBatch, np.ndarray, list[Poison]]:
    """Records of one writer: the rows, their places among `values`, and the poison."""
    if writer.joined is None:
        return _resolve_one_by_one(writer, values)
    rows, kept, poison = read_around_poison(writer, values, separator)
    batch, bad = align(writer, rows)
    if not bad:
        return batch, kept, poison
    fine = np.ones(len(kept), bool)
    fine[list(bad)] = False
    poison += [Poison(int(kept[row]), "undecodable", detail) for row, detail in bad.items()]
    return batch.filter(pa.array(fine)), kept[fine], poison


def _resolve_one_by_one(writer: Writer, values: pa.BinaryArray) -> tuple[pa.RecordBatch, np.ndarray, list[Poison]]:
    """Records of a schema that only fastavro can read, resolved by it against the current one."""
    events: list[dict[str, Any]] = []
    kept: list[int] = []
    poison: list[Poison] = []
    for i, value in enumerate(values.to_pylist()):
        body = BytesIO(value)
        body.seek(len(writer.prefix))
        try:
            # twice, because fastavro does not notice that a field which it skips is cut short
            fastavro.schemaless_reader(body, writer.schema, None)
            left = len(value) - body.tell()
            body.seek(len(writer.prefix))
            event = cast(dict[str, Any], fastavro.schemaless_reader(body, writer.schema, row_schema()))
        except Exception as exc:
            poison.append(Poison(i, "undecodable", read_fields(writer, value)[1] or str(exc)))
            continue
        if left:
            poison.append(trailing(i, left))
            continue
        events.append(event)
        kept.append(i)
    schema = usage_event_arrow()
    arrays = [pa.array([_plain(event[f.name]) for event in events], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema), np.array(kept, np.int64), poison


def _plain(value: object) -> object:
    """A map as pyarrow wants it."""
    return list(value.items()) if isinstance(value, dict) else value
