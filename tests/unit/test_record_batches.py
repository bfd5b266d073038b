"""Kafka's record batches as columns hold what aiokafka reads record by record, whatever the records are like."""

import struct

import pyarrow as pa
import pytest
from aiokafka.record._crecords.cutil import crc32c_cython
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from schemas.wire import varint
from streams.gathering import GatheredColumns
from streams.record_batches import Chunk, Fetched, _Columns, joined
from streams.spend.records import Records

Header = tuple[str, bytes | None]
Written = tuple[int, bytes | None, bytes | None, list[Header]]  # milliseconds, key, value, headers

plain = st.tuples(st.integers(0, 2**41), st.binary(max_size=300), st.binary(max_size=300), st.just([]))
odd = st.tuples(
    st.integers(0, 2**41),
    st.none() | st.binary(max_size=5),
    st.none() | st.binary(max_size=5),
    st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=2),
)


def batch(records: list[Written], base: int = 0, compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 30)
    for number, (at, key, value, headers) in enumerate(records):
        builder.append(number, at, key, value, headers)
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def patched(data: bytes, place: int, value: bytes) -> bytes:
    """A batch with other bytes in its header, and the checksum that fits."""
    data = data[:place] + value + data[place + len(value) :]
    return data[:17] + struct.pack(">I", crc32c_cython(data[21:])) + data[21:]


def chunks(*batches: bytes) -> list[Chunk]:
    fetched = Fetched(b"".join(batches))
    fetched.as_columns = True
    found: list[Chunk] = []
    while fetched.has_next():
        found += fetched.next_batch()
    return found


def columns(*batches: bytes) -> Records:
    return Records.joined(list(joined(chunks(*batches))))


def as_rows(records: Records) -> list[tuple[int, int, bytes | None, bytes | None]]:
    texts = (records.keys.to_pylist(), records.values.to_pylist())
    return list(zip(records.offsets.tolist(), records.times_us.tolist(), *texts, strict=True))


def one_by_one(*batches: bytes) -> list[tuple[int, int, bytes | None, bytes | None]]:
    memory, found = MemoryRecords(b"".join(batches)), []
    while memory.has_next():
        found += [(r.offset, r.timestamp * 1000, r.key, r.value) for r in memory.next_batch() or ()]
    return found


@given(st.lists(st.lists(plain, min_size=1, max_size=30) | st.lists(odd | plain, min_size=1, max_size=30), max_size=4))
def test_columns_hold_what_aiokafka_reads(written: list[list[Written]]) -> None:
    batches = [batch(records, base=1_000 * number) for number, records in enumerate(written)]
    found = chunks(*batches)
    assert [row for records in joined(found) for row in as_rows(records)] == one_by_one(*batches)
    assert [chunk.offset for chunk in found] == [1_000 * n + len(records) - 1 for n, records in enumerate(written)]


@pytest.mark.parametrize("compression", range(5))
def test_many_plain_records_are_read_in_one_call_however_they_are_compressed(compression: int) -> None:
    data = batch([(1_700_000_000_000 + n, b"key %d" % n, bytes([n % 256]) * n, []) for n in range(500)], 7, compression)
    memory = MemoryRecords(data)
    found = _Columns(memory.next_batch(), memoryview(data))._read()
    assert found is not None and as_rows(found) == one_by_one(data)


@pytest.mark.parametrize("one", [(5, b"k", b"v", [("trace", b"1")]), (5, None, b"v", []), (5, b"k", None, [])])
def test_what_avro_would_read_otherwise_is_left_to_aiokafka(one: Written) -> None:
    records: list[Written] = [(5, b"key", b"value", []) for _ in range(20)]
    data = batch([*records, one, *records])
    memory = MemoryRecords(data)
    assert _Columns(memory.next_batch(), memoryview(data))._read() is None
    assert as_rows(columns(data)) == one_by_one(data)


def test_a_header_that_avro_reads_as_a_record_with_the_next_one_in_it_is_no_record() -> None:
    """Read as Avro, there are as many records, and all bytes are used up."""
    swallowed: Written = (0, b"key", b"value", [])
    size = len(batch([swallowed])) - 61
    header = (b"\0\0\0\0" + varint(size)).decode()  # attributes, time, offset, no key; its value goes on behind it
    records: list[Written] = [(0, b"k", b"v", [(header, None)]), *[swallowed] * 20]
    data = batch(records)
    assert as_rows(columns(data)) == one_by_one(data)


def test_records_bear_the_brokers_time_where_the_topic_says_so() -> None:
    data = batch([(1_000 + n, b"key", b"value", []) for n in range(20)])
    appended = patched(patched(data, 21, b"\0\x08"), 35, struct.pack(">q", 9_000))
    assert as_rows(columns(appended)) == one_by_one(appended)
    assert set(columns(appended).times_us.tolist()) == {9_000_000}


@pytest.mark.parametrize("many", [1, 20])
@pytest.mark.parametrize("at", [1_700_000_000_000_000_000, -(10**17)])
def test_a_time_beyond_64_bits_is_the_furthest_however_it_is_read(many: int, at: int) -> None:
    furthest = (2**63 - 1) // 1000 * 1000
    times = columns(batch([(at, b"key", b"value", [])] * many)).times_us.tolist()
    assert times == [furthest if at > 0 else -furthest] * many


def test_small_batches_become_columns_together() -> None:
    batches = [batch([(5, b"key", b"value %d" % n, [])], n) for n in range(100)]
    (records,) = joined(chunks(*batches))
    assert as_rows(records) == one_by_one(*batches)


def test_an_answer_without_records_is_empty() -> None:
    assert not Fetched(None).has_next() and Fetched(None).size_in_bytes() == 0


def test_records_are_cut_and_joined_in_order() -> None:
    records = Records.of([b"a", None, b"c", b"d"], [b"1", b"22", None, b"4444"], [3, 5, 6, 9], [1, 2, 3, 4])
    assert as_rows(records.beyond(5)) == as_rows(records[2:]) == as_rows(records)[2:]
    assert records.beyond(2) is records and len(records.beyond(9)) == 0
    assert (records.nbytes, records[1:].nbytes, records.beyond(9).nbytes) == (7, 6, 0)
    assert as_rows(Records.joined([records[:1], records[1:3], records[3:]])) == as_rows(records)
    assert Records.joined([records[2:]]).values.type == pa.binary()


def test_a_batch_is_cut_by_records_and_by_bytes_and_nothing_is_passed_over() -> None:
    """Whole batches of Kafka's until the bytes are enough, of the last one no more records than are asked for."""
    batches = [batch([(5, b"key", bytes(100), [])] * 20, 20 * n) for n in range(5)]
    gathered = GatheredColumns(batch_bytes=3_000)
    assert gathered.add(chunks(*batches), 5) == 100
    assert (gathered.count, gathered.bytes) == (95, 9_500)
    taken = [gathered.take(count, TP("t", 0), 1) for count in (10, 50, 50)]
    assert [(int(one.columns.offsets[0]), one.last) for one in taken] == [(5, 14), (15, 59), (60, 99)]
    assert [len(one.columns) for one in taken] == [10, 45, 40]
    assert (gathered.count, gathered.bytes) == (0, 0)
