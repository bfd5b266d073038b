"""Reading and writing usage events in Avro: which schema wrote a record, and how events are encoded."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyruhvro

from schemas.priced import usage_event_arrow, usage_event_avsc
from schemas.resolution import Unresolvable, Writer, resolve, row_schema
from schemas.wire import (
    SINGLE_OBJECT_SIZE,
    current_prefix,
    published,
    schema_id_of,
    single_object_prefix,
    without,
)

SchemaLookup = Callable[[int], str | None]


class UnknownSchema(ValueError):
    """Nothing is known that could read a record; the message says which schema it names."""


class WriterSchemas:
    """The writers' schemas that can be read: by fingerprint, all that were ever published; by id, the registry's.

    Args:
        lookup: gives the schema of a registry's id, None when the registry has no such id; raises when it cannot say,
            which is not the record's fault. None: no registry is configured.
        schemas: the published schemas, the oldest first.
    """

    def __init__(self, lookup: SchemaLookup | None = None, schemas: Iterable[str] | None = None) -> None:
        self._lookup = lookup
        self._published = {
            single_object_prefix(schema): schema for schema in (published() if schemas is None else schemas)
        }
        self._writers: dict[bytes, Writer] = {}
        # unguessable, so that no record can contain it: it shows where a record really ends
        self.separator = secrets.token_bytes(8)

    def find(self, prefix: bytes) -> Writer:
        """The writer whose records start with `prefix` (10 or 5 bytes).

        Raises:
            UnknownSchema: nothing can read such records.
            streams.errors.Unreachable: the registry does not answer.
        """
        writer = self._writers.get(prefix)
        if writer is None:
            try:
                writer = resolve(self._schema(prefix), prefix)
            except Unresolvable as exc:
                raise UnknownSchema(f"{_named(prefix)} cannot become a usage event: {exc}") from exc
            self._writers[prefix] = writer
        return writer

    def _schema(self, prefix: bytes) -> str:
        if len(prefix) == SINGLE_OBJECT_SIZE:
            schema = self._published.get(prefix)
            if schema is None:
                raise UnknownSchema(
                    f"{_named(prefix)} is none of the published UsageEvent schemas that this release knows"
                )
            return schema
        if self._lookup is None:
            raise UnknownSchema(f"{_named(prefix)} needs a registry: set SPEND_SCHEMA_REGISTRY_URL")
        schema = self._lookup(schema_id_of(prefix))
        if schema is None:
            raise UnknownSchema(f"{_named(prefix)} is not in the schema registry")
        return schema


def _named(prefix: bytes) -> str:
    if len(prefix) == SINGLE_OBJECT_SIZE:
        return f"the schema with fingerprint {prefix[2:].hex()}"
    return f"the schema with id {schema_id_of(prefix)}"


def read_fields(writer: Writer, value: bytes) -> tuple[dict[str, Any], str | None]:
    """As many fields of a record as can be read, by the writer's names, and what is wrong after them, if anything."""
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


def encode_event(event: Mapping[str, Any], prefix: bytes | None = None) -> bytes:
    """One event, prefix and body.

    Args:
        event: values by field name; times as microseconds since 1970; a field that is left out takes its default.
        prefix: of the schema as it is registered (`schemas.wire.confluent_prefix`); None: single-object encoding.

    Raises:
        ValueError: a required field is missing, a value does not fit its type, or a name is no field.
    """
    unknown = event.keys() - _field_names()
    if unknown:
        raise ValueError(f"not a field of a usage event: {', '.join(sorted(unknown))}")
    body = BytesIO()
    body.write(current_prefix() if prefix is None else prefix)
    try:
        fastavro.schemaless_writer(body, row_schema(), event, strict_allow_default=True)
    except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as exc:
        raise ValueError(f"not a usage event: {exc}{_misfit(event)}") from exc
    return body.getvalue()


def _misfit(event: Mapping[str, Any]) -> str:
    """The first field whose value its type does not take, for the sentence; fastavro does not always name it."""
    for name, kind in _field_types():
        if name in event:
            try:
                fastavro.schemaless_writer(BytesIO(), kind, event[name])
            except Exception:
                return f" (field {name} is {event[name]!r:.80})"
    return ""


def encode_events(events: Iterable[Mapping[str, Any]], prefix: bytes | None = None) -> list[bytes]:
    """`encode_event` for each of `events`."""
    return [encode_event(event, prefix) for event in events]


def encode_batch(batch: pa.RecordBatch, prefix: bytes | None = None) -> list[bytes]:
    """All events of a record batch, prefix and body, in order: about 1 µs an event.

    Args:
        batch: schema `usage_event_arrow()`; whoever made the arrays (pyarrow, polars after a cast) does not matter.
        prefix: as in `encode_event`.

    Raises:
        ValueError: another schema, a null in a field that has none, or an unknown enum symbol.
    """
    schema = usage_event_arrow()
    if not batch.schema.equals(schema):
        wrong = [f.name for f in schema if f.name not in batch.schema.names or batch.schema.field(f.name) != f]
        raise ValueError(f"not a batch of usage events: {', '.join(wrong) or 'other columns or another order'}")
    for field, column in zip(schema, batch.columns, strict=True):
        if not field.nullable and column.null_count:  # pyruhvro would write an empty value in silence
            raise ValueError(f"{field.name} is null in {column.null_count} events, and may not be")
    if batch.num_rows == 0:
        return []
    (bodies,) = pyruhvro.serialize_record_batch(batch, _batch_schema(), 1)
    _, offsets_buffer, data_buffer = bodies.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[: len(bodies) + 1].tolist()
    data = data_buffer.to_pybytes()
    head = current_prefix() if prefix is None else prefix
    return [head + data[start:end] for start, end in pairwise(offsets)]


@lru_cache
def _batch_schema() -> str:
    return json.dumps(without(json.loads(usage_event_avsc()), "doc"))


@lru_cache
def _field_types() -> tuple[tuple[str, Any], ...]:
    fields = without(json.loads(usage_event_avsc()), "doc", "logicalType")["fields"]
    return tuple((field["name"], fastavro.parse_schema(field["type"])) for field in fields)


@lru_cache
def _field_names() -> frozenset[str]:
    return frozenset(usage_event_arrow().names)
