"""Blocks say what they cover, survive the wire, and are trimmed to what is new."""

from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import blocks
from streams.blocks import Block, Header, Hole


def block(first: int, last: int, offsets: list[int], **more: object) -> Block:
    """A block with just the coordinate column: trimming looks at nothing else."""
    batch = pa.RecordBatch.from_arrays([pa.array(offsets, pa.int64())], names=["source_offset"])
    header = Header("log", "blocks", 0, first, last, len(offsets), "v", **more)  # type: ignore[arg-type]
    return Block(header, blocks.write(batch))


def offsets_of(trimmed: Block | None) -> list[int]:
    return [] if trimmed is None else trimmed.batch.column("source_offset").to_pylist()


def test_a_block_that_follows_the_mark_is_passed_on_untouched():
    whole = block(5, 9, [5, 6, 9])
    assert blocks.trim(whole, 4) == (whole, 9)


def test_rows_at_or_below_the_mark_are_repeats():
    trimmed, mark = blocks.trim(
        block(
            3,
            9,
            [3, 5, 7],
            duplicates=np.array([4, 8]),
            dead_letters={"empty": np.array([6]), "undecodable": np.array([9])},
        ),
        6,
    )
    assert offsets_of(trimmed) == [7] and mark == 9
    assert trimmed is not None
    assert (trimmed.header.first, trimmed.header.rows) == (7, 1)
    assert trimmed.header.duplicates.tolist() == [8]
    assert {r: o.tolist() for r, o in trimmed.header.dead_letters.items()} == {"undecodable": [9]}


def test_a_block_wholly_below_the_mark_leaves_nothing():
    assert blocks.trim(block(3, 5, [3, 4, 5]), 8) == (None, 8)


def test_a_block_beyond_the_next_offset_is_a_hole():
    with pytest.raises(Hole, match="begins at source offset 7, but 5 is next"):
        blocks.trim(block(7, 9, [7]), 4)


def test_a_block_knows_the_months_that_its_rows_touch():
    def months(*times: datetime) -> int:
        rows = pa.RecordBatch.from_arrays([pa.array(times, pa.timestamp("us"))], names=["time"])
        return Block(Header("log", "blocks", 0, 0, 9, len(times), "v"), blocks.write(rows)).months

    end_of_june = datetime(2026, 6, 30, 23, 59, 59, 999_999)
    assert months() == 0
    assert months(datetime(2026, 6, 1), end_of_june) == 1
    assert months(end_of_june, datetime(2026, 7, 1)) == 2
    assert months(datetime(2026, 7, 1), datetime(2025, 7, 1), datetime(1969, 12, 31), datetime(2026, 7, 9)) == 3


def test_headers_survive_the_wire():
    header = block(3, 12, [3], duplicates=np.array([4, 7, 8, 9]), dead_letters={"empty": np.array([5, 6])}).header
    read = Header.from_kafka(header.to_kafka())
    assert dict(header.to_kafka())["duplicates"] == b"4,7-9"
    assert read.duplicates.tolist() == [4, 7, 8, 9]
    assert read.dead_letters["empty"].tolist() == [5, 6]
    assert (read.first, read.last, read.rows, read.dead_letter_count) == (3, 12, 1, 2)


def test_the_first_block_of_a_partition_that_the_log_grew_by_covers_nothing_and_says_what_it_follows():
    first = Header("log", "blocks", 5, 0, -1, 0, "", follows=(1, 4711))
    assert Header.from_kafka(first.to_kafka()).follows == (1, 4711)
    assert block(3, 12, [3]).header.follows is None
    again = block(0, -1, [], follows=(1, 4712))  # a move that was cut short began anew
    then = block(0, 2, [0, 2])
    mark = None
    for each in (Block(first, again.value), again, then):
        new, mark = blocks.trim(each, mark)
        assert new == each
    assert mark == 2


@given(st.sets(st.integers(0, 300)))
def test_offset_ranges_are_read_as_they_were_written(offsets: set[int]):
    ascending = np.array(sorted(offsets), dtype=np.int64)
    assert blocks.from_ranges(blocks.to_ranges(ascending)).tolist() == ascending.tolist()


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))))
def test_picodollars_become_dollars_without_losing_a_digit(picos: list[int | None]):
    expected = [None if p is None else Decimal(p).scaleb(-12) for p in picos]
    assert blocks.money(pa.array(picos, pa.int64())).to_pylist() == expected


@given(
    dropped=st.sets(st.integers(0, 59)),
    stretches=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 30)), max_size=20),
)
def test_whatever_repeats_lie_in_the_log_each_offset_is_read_once(dropped: set[int], stretches: list[tuple[int, int]]):
    """Crashes and zombies repeat stretches that begin at or below the next offset; nothing else can happen."""
    decided, log = -1, []
    for start, length in [*stretches, (60, 60)]:
        first = min(start, decided + 1)
        last = min(first + length - 1, 59)
        log.append(block(first, last, [o for o in range(first, last + 1) if o not in dropped]))
        decided = max(decided, last)
    mark, seen = None, []
    for each in log:
        new, mark = blocks.trim(each, mark)
        seen += offsets_of(new)
    assert seen == [o for o in range(decided + 1) if o not in dropped]
    assert mark == decided


def test_only_the_wanted_columns_of_a_block_are_read():
    batch = pa.record_batch({"a": [1], "b": ["x"], "c": [2]})
    assert blocks.read(blocks.write(batch), ["c", "a"]).to_pydict() == {"c": [2], "a": [1]}
