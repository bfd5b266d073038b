"""What a priced block adds to each member of each dimension, minute by minute. Pure.

A delta is a row (dimension, member, minute) with sums over the block's calls. Sums of money are 128-bit decimals, so
that nothing wraps, and are added as they stand in the block: nothing is priced a second time.

Every dimension's groups have numbers of one range, and a measure is added up for all of them into one column, call by
call, without the calls to which it adds nothing: most measures are 0 in most calls.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from schemas.priced import COSTS
from streams.partitioner import partitions_of
from streams.spend.dimensions import COLUMNS, COUNTS, GLOBAL, TAG
from streams.spend.halves import amounts, carry, halves, words

MEASURES: tuple[str, ...] = (*COUNTS, *COSTS)
_TOKENS = tuple(name for name in COUNTS if name.endswith("_tokens"))
_MONEY = pl.Decimal(38, 12)
_DENSE = 32  # numbers of groups a call, up to which a table of them is faster than sorting
SCHEMA = pl.Schema(
    {
        "dimension": pl.String(),
        "member": pl.String(),
        "minute": pl.Int64(),  # seconds since 1970
        **dict.fromkeys(COUNTS, pl.Int64()),
        **dict.fromkeys(COSTS, _MONEY),
    }
)


@dataclass(frozen=True)
class _Groups:
    """A dimension's groups, each a member and minute: `number` of each call's (or entry's), and what they are."""

    dimension: str
    number: np.ndarray
    calls: np.ndarray | None  # the call of each entry; None: the entries are the calls
    names: list[str]
    name: np.ndarray  # of each group, its position in `names`
    minute: np.ndarray


def deltas(block: pa.RecordBatch) -> pl.DataFrame:
    """The deltas of a block, schema `SCHEMA`; a member's are one after the other.

    Args:
        block: rows of `schemas.priced.priced_arrow()`; texts may be dictionaries or plain (blocks of format 1).
    """
    if not block.num_rows:
        return SCHEMA.to_frame()
    minutes, minute = np.unique(np.asarray(block.column("time").view(pa.int64())) // 60_000_000, return_inverse=True)
    minutes *= 60
    nobody = pa.DictionaryArray.from_arrays(pa.array(np.zeros(block.num_rows, np.int32)), pa.array([""]))
    found = [_grouped(GLOBAL, nobody, minutes, minute)]
    found += [_grouped(name, block.column(column), minutes, minute) for name, column in COLUMNS.items()]
    bearers, members = _tags(block.column("tags"))
    if len(bearers):
        found.append(_grouped(TAG, members, minutes, minute, bearers))
    sums = dict(_sums(block, found))
    of = np.repeat(np.arange(len(found)), [len(groups.minute) for groups in found])
    before = np.cumsum([0, *(len(groups.names) for groups in found)])
    name = np.concatenate([groups.name for groups in found]) + before[of]
    return pl.DataFrame(
        {
            "dimension": pl.Series([groups.dimension for groups in found], dtype=pl.String).gather(of),
            "member": pl.Series([n for groups in found for n in groups.names], dtype=pl.String).gather(name),
            "minute": np.concatenate([groups.minute for groups in found]),
            **{name: sums[name] for name in MEASURES},
        }
    )


def split(frame: pl.DataFrame, partitions: int) -> list[pl.DataFrame]:
    """The deltas by partition of spend.totals: a member has all of its windows in one place.

    Raises:
        ValueError: `partitions` is not above zero.
    """
    if partitions < 1:
        raise ValueError("spend.totals has at least one partition")
    if frame.is_empty():
        return [frame] * partitions
    heads, run = runs(frame)
    placed = np.asarray(partitions_of([member_key(*key) for key in heads.rows()], partitions))
    number = pl.Series(placed[run])
    return [frame.filter(number == partition) for partition in range(partitions)]


def runs(frame: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows that follow each other and have the same (dimension, member): those, and the number of each row's run."""
    same = (pl.col("dimension") == pl.col("dimension").shift()) & (pl.col("member") == pl.col("member").shift())
    begins = frame.select((~same).fill_null(True))["dimension"]
    return frame.select("dimension", "member").filter(begins), np.cumsum(begins.to_numpy()) - 1


def member_key(dimension: str, member: str) -> bytes:
    """What decides a member's partition of spend.totals."""
    return f"{dimension}\0{member}".encode()


def _grouped(
    dimension: str, members: pa.Array, minutes: np.ndarray, minute: np.ndarray, calls: np.ndarray | None = None
) -> _Groups:
    """Groups in the order of members and minutes. `minute`: of each call, its position in `minutes`."""
    coded = members if pa.types.is_dictionary(members.type) else members.dictionary_encode()
    names = [name or "" for name in (*coded.dictionary.to_pylist(), "")]
    code = np.asarray(coded.indices.fill_null(len(names) - 1)).astype(np.int64)
    if len(set(names)) < len(names):  # an empty text is no other member than an absent one
        first = {name: at for at, name in reversed(list(enumerate(names)))}
        code = np.array([first[name] for name in names])[code]
    key = code * len(minutes) + (minute if calls is None else minute[calls])
    if len(names) * len(minutes) <= _DENSE * len(key):
        number = np.zeros(len(names) * len(minutes), np.int64)
        number[key] = 1
        there = np.flatnonzero(number)
        number[there] = np.arange(len(there))
        number = number[key]
    else:
        there, number = np.unique(key, return_inverse=True)
    return _Groups(dimension, number, calls, names, there // len(minutes), minutes[there % len(minutes)])


def _sums(block: pa.RecordBatch, found: list[_Groups]) -> Iterator[tuple[str, pl.Series | np.ndarray]]:
    """Each measure with its sums, of all groups one after the other."""
    sizes = [len(groups.minute) for groups in found]
    starts = np.cumsum([0, *sizes[:-1]])
    total = sum(sizes)

    def add_up(values: np.ndarray) -> np.ndarray:
        sums, there = np.zeros(total, np.int64), values != 0
        calls = np.flatnonzero(there)
        if not len(calls):
            return sums
        some = values[calls]
        for groups, start, size in zip(found, starts, sizes, strict=True):
            mine = sums[start : start + size]
            if groups.calls is None:
                np.add.at(mine, groups.number[calls], some)
            else:
                entries = np.flatnonzero(there[groups.calls])
                np.add.at(mine, groups.number[entries], values[groups.calls[entries]])
        return sums

    yield "calls", np.concatenate([np.bincount(g.number, minlength=n) for g, n in zip(found, sizes, strict=True)])
    yield "errors", add_up(np.asarray(block.column("error_type").is_valid()).astype(np.int64))
    yield "cache_hits", add_up(_is(block.column("cache_outcome"), "hit"))
    yield "unpriced_calls", add_up(_is(block.column("pricing_status"), "unpriced"))
    yield "partial_calls", add_up(_is(block.column("pricing_status"), "partial"))
    for name in _TOKENS:
        yield name, add_up(_whole(block.column(name)))
    adds = max(len(groups.number) for groups in found)
    for name in COSTS:
        column = block.column(name)
        word = words(pc.fill_null(column, 0) if column.null_count else column)
        picos = word[:, 0]
        if (word[:, 1] == picos >> 63).all() and max(int(picos.max()), -int(picos.min())) * adds < 2**63:
            sums = add_up(picos)
            yield name, amounts(*carry(np.zeros_like(sums), sums))
        else:
            yield name, amounts(*carry(*map(add_up, halves(word))))


def _whole(column: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(column, 0) if column.null_count else column)


def _is(column: pa.Array, text: str) -> np.ndarray:
    """1 where a column, a dictionary or plain, has that text."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    same = np.array([*(name == text for name in coded.dictionary.to_pylist()), False], np.int64)
    return same[np.asarray(coded.indices.fill_null(len(same) - 1))]


def _tags(tags: pa.MapArray) -> tuple[np.ndarray, pa.Array]:
    """The row and the member, key=value, of each entry."""
    offsets = tags.offsets.to_numpy()
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    keys, values = tags.keys.slice(first, count), tags.items.slice(first, count)
    rows = np.repeat(np.arange(len(tags)), np.diff(offsets))
    return rows, pc.binary_join_element_wise(keys, values, "=")
