"""Many records of one schema to columns, in one call of pyruhvro. Pure.

The records are joined to one Avro array, each followed by a separator that no record can contain. A record with bytes
to spare, or with too few, shifts what follows, so that a separator is found wrong or the call fails: either all records
end where they should, or the caller learns that one at least does not.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from schemas.priced import usage_event_arrow
from schemas.resolution import Column, Writer
from schemas.wire import varint
from streams.spend.records import binary_bounds, binary_data


class Undecodable(Exception):
    """Records that do not decode together; with one record, why it does not."""


def separated(values: pa.BinaryArray, separator: bytes) -> pa.BinaryArray:
    """Records, each with the separator behind it: what `read` reads, some that follow each other in one call."""
    kind = pa.binary()
    return pc.binary_join_element_wise(values, pa.scalar(separator, kind), pa.scalar(b"", kind))


def read(writer: Writer, values: pa.BinaryArray, separator: bytes) -> pa.StructArray:
    """`separated` values in one call, as pyruhvro's struct: prefix fields, the writer's fields, the separator.

    Raises:
        Undecodable: one of them at least is no record of this writer, has bytes to spare, or a text that is not UTF-8.
    """
    bounds = binary_bounds(values)
    joined = b"".join((varint(len(values)), binary_data(values)[bounds[0] : bounds[-1]].data, b"\0"))
    try:
        rows = pyruhvro.deserialize_array([joined], writer.joined).column(0).values
    except BaseException as exc:
        # a fault inside pyruhvro is a PanicException, which is no Exception
        if isinstance(exc, Exception) or type(exc).__name__ == "PanicException":
            raise Undecodable(str(exc)) from exc
        raise
    found = rows.field(rows.type.num_fields - 1).to_numpy(zero_copy_only=True).view(np.uint64)
    if len(rows) != len(values) or not (found == np.frombuffer(separator, np.uint64)).all():
        raise Undecodable("bytes are left over after the record's end")
    for texts in _texts(rows):
        _require_utf8(texts)
    return rows


def _texts(array: pa.Array) -> Iterator[pa.StringArray]:
    """Every array of texts inside an array."""
    kind = array.type
    if pa.types.is_string(kind):
        yield array
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            yield from _texts(array.field(index))
    elif pa.types.is_map(kind):
        yield from _texts(array.keys)
        yield from _texts(array.items)
    elif pa.types.is_list(kind):
        yield from _texts(array.values)


def _require_utf8(texts: pa.StringArray) -> None:
    """pyruhvro takes any bytes for a text; whatever reads the column next may not survive them.

    Raises:
        Undecodable: a text is not UTF-8.
    """
    data = texts.buffers()[2]
    if data is None or np.frombuffer(data, np.uint8).max(initial=0) < 0x80:
        return  # all ASCII: twenty times as fast to see
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as exc:
        raise Undecodable("a text is not valid UTF-8") from exc


def align(writer: Writer, rows: pa.StructArray) -> tuple[pa.RecordBatch, dict[int, str]]:
    """pyruhvro's fields as columns of the current UsageEvent; rows that have no place in it, with the reason."""
    schema, bad = usage_event_arrow(), dict[int, str]()
    arrays = []
    for column, field in zip(writer.columns, schema, strict=True):
        if column.index is None:
            array = pa.array([column.default] * len(rows), field.type)
        else:
            array = rows.field(writer.skip + column.index)
            if column.symbols is not None:
                array = _known_symbols(array, column, bad)
            if not field.nullable and array.null_count:
                for row in np.flatnonzero(array.is_null()).tolist():
                    bad.setdefault(row, f"field {field.name} is null, and may not be")
            if array.type != field.type:
                array = array.view(field.type)  # whole microseconds: pyruhvro was not told that they are times
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema), bad


def _known_symbols(array: pa.Array, column: Column, bad: dict[int, str]) -> pa.Array:
    unknown = pc.and_(pc.invert(pc.is_in(array, pa.array(column.symbols))), array.is_valid())
    if column.fallback is not None:
        return pc.if_else(unknown, column.fallback, array)
    for row in np.flatnonzero(unknown).tolist():
        bad.setdefault(row, f"field {column.name} has the symbol {array[row].as_py()!r}, which is not known")
    return array
