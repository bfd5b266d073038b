"""Arrow IPC streams: their columns, and many put one behind the other, so that many blocks are one insert. Pure.

A stream's messages are copied as they are, compressed; not one row is looked at.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from streams.errors import Halt

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def columns_of(block: bytes) -> list[str]:
    """The names of a block's columns, in their order."""
    return list(pa.ipc.open_stream(block).schema.names)


def joined(blocks: Iterable[tuple[str, bytes]], columns: list[str]) -> Iterator[bytes]:
    """The blocks' record batches in order, in as few streams as their schemas allow.

    A block with dictionaries stays alone: ClickHouse reads a column's dictionary once a stream.

    Args:
        blocks: where each comes from, for the error, and its Arrow IPC stream.
        columns: the names that each must have, in this order.

    Raises:
        Halt: a block is not an Arrow stream, or has other columns.
    """
    schema: pa.Message | None = None
    batches: list[pa.Message] = []
    for where, value in blocks:
        head, rest = _messages(where, value, columns)
        alone = any(message.type == "dictionary" for message in rest)
        if schema is not None and (alone or not schema.equals(head)):
            yield _stream(schema, batches)
            schema, batches = None, []
        if alone:
            yield value
            continue
        schema = schema or head
        batches += rest
    if schema is not None:
        yield _stream(schema, batches)


def _messages(where: str, value: bytes, columns: list[str]) -> tuple[pa.Message, list[pa.Message]]:
    try:
        head, *rest = pa.ipc.MessageReader.open_stream(value)
        names = pa.ipc.read_schema(head).names
    except (pa.ArrowException, ValueError) as exc:
        raise Halt(f"{where}: it is not an Arrow stream; find out who else writes there") from exc
    if names != columns:
        other = ", ".join(sorted(set(names) ^ set(columns))) or "their order"
        raise Halt(
            f"{where}: its columns are not those that are expected ({other}): "
            "run the same release of spendstream everywhere"
        )
    return head, rest


def _stream(schema: pa.Message, batches: list[pa.Message]) -> bytes:
    stream = pa.BufferOutputStream()
    for message in (schema, *batches):
        message.serialize_to(stream)
    stream.write(_END_OF_STREAM)
    return bytes(stream.getvalue().to_pybytes())
