"""The two wire formats of an Avro record: what precedes the body, and which schema it names.

    Avro single-object encoding   C3 01, the schema's CRC-64-AVRO fingerprint (8 bytes, little endian), the body
    Confluent framing             00, the Schema Registry's id (4 bytes, big endian), the body

What precedes the body is the prefix: the same for all records of one writer's schema.

Sources: Avro specification 1.12 ("Single-object encoding", "Parsing Canonical Form"); Confluent's wire format.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any

from fastavro.schema import fingerprint as avro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from schemas.priced import usage_event_avsc

SINGLE_OBJECT = b"\xc3\x01"
SINGLE_OBJECT_SIZE = 10
CONFLUENT = b"\x00"
CONFLUENT_SIZE = 5


def fingerprint(schema: str) -> bytes:
    """CRC-64-AVRO of the schema's Parsing Canonical Form: 8 bytes, little endian, as the wire has them."""
    canonical = to_parsing_canonical_form(json.loads(schema))
    return bytes.fromhex(avro_fingerprint(canonical, "CRC-64-AVRO"))


def single_object_prefix(schema: str) -> bytes:
    """The 10 bytes that precede a body in Avro single-object encoding."""
    return SINGLE_OBJECT + fingerprint(schema)


def confluent_prefix(schema_id: int) -> bytes:
    """The 5 bytes that precede a body in Confluent framing."""
    return CONFLUENT + schema_id.to_bytes(4, "big")


def schema_id_of(prefix: bytes) -> int:
    """The registry's schema id in a Confluent prefix."""
    return int.from_bytes(prefix[1:CONFLUENT_SIZE], "big")


def prefix_size(value: bytes) -> int:
    """Length of the prefix by the value's first bytes: 10, 5, or 0 when it is neither format or too short."""
    if value[:2] == SINGLE_OBJECT and len(value) >= SINGLE_OBJECT_SIZE:
        return SINGLE_OBJECT_SIZE
    if value[:1] == CONFLUENT and len(value) >= CONFLUENT_SIZE:
        return CONFLUENT_SIZE
    return 0


def varint(number: int) -> bytes:
    """A whole number of zero or more as Avro, and Kafka's record batches, write a long."""
    number, out = number << 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@lru_cache
def current_prefix() -> bytes:
    """Single-object prefix of the current UsageEvent: what is written when no registry is configured."""
    return single_object_prefix(usage_event_avsc())


@lru_cache
def published() -> tuple[str, ...]:
    """Every UsageEvent schema that was ever published, the oldest first, the current one last.

    `schemas/frozen.json` lists them with their digests; a published file is never changed.
    """
    folder = resources.files("schemas")
    frozen = json.loads(folder.joinpath("frozen.json").read_text(encoding="utf-8"))
    return tuple(folder.joinpath(entry["file"]).read_text(encoding="utf-8") for entry in frozen)


def without(schema: Any, *attributes: str) -> Any:
    """A schema (parsed JSON) without the named attributes, such as `doc` and `logicalType`, at every depth."""
    if isinstance(schema, list):
        return [without(item, *attributes) for item in schema]
    if isinstance(schema, dict):
        return {
            key: value if key in ("default", "symbols", "aliases") else without(value, *attributes)
            for key, value in schema.items()
            if key not in attributes
        }
    return schema
