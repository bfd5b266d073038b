"""What an event may say: bounds, and counts that contradict each other, a column at a time. Pure.

An event that breaks a rule becomes a dead letter: counting it would make sums wrong, or wrap them. The bounds are those
of `schemas.bounds`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.bounds import (
    COUNTS,
    EARLIEST_US,
    LATEST_US,
    MAX_AHEAD_US,
    MAX_ENTRIES,
    MAX_QUANTITY,
    MAX_TEXT_BYTES,
    NEVER_EMPTY,
    PARTS,
    TIMES,
    beyond,
    contradiction,
    text_limit,
    too_large,
)
from streams.spend.poison import Poison


class _Problems:
    """The first problem of each row."""

    def __init__(self) -> None:
        self.found: dict[int, Poison] = {}

    def add(self, row: int, reason: str, detail: str) -> None:
        self.found.setdefault(row, Poison(row, reason, detail))


def check(batch: pa.RecordBatch, record_times_us: np.ndarray) -> tuple[np.ndarray, list[Poison]]:
    """Tell the events that can be counted from those that cannot.

    Args:
        batch: decoded events, schema `usage_event_arrow()`, n rows.
        record_times_us: int64 of shape (n,): the Kafka timestamp of each event's record in microseconds since 1970;
            negative where the record has none, and then no event is ahead of it.

    Returns:
        A bool array of shape (n,), True where the event counts; and for each other row one Poison, whose position is
        the row, ascending.
    """
    problems = _Problems()
    _never_empty(batch, problems)
    _lengths(batch, problems)
    _times(batch, record_times_us, problems)
    _counts(batch, problems)
    _quantities(batch, problems)
    _repeated_keys(batch, problems)
    _parts(batch, problems)
    keep = np.ones(batch.num_rows, bool)
    rows = sorted(problems.found)
    keep[rows] = False
    return keep, [problems.found[row] for row in rows]


def _never_empty(batch: pa.RecordBatch, problems: _Problems) -> None:
    for name in NEVER_EMPTY:
        for row in _where(_text_lengths(batch.column(name)) == 0):
            problems.add(row, "out_of_bounds", f"{name} is empty")


def _lengths(batch: pa.RecordBatch, problems: _Problems) -> None:
    for field in batch.schema:
        column = batch.column(field.name)
        if pa.types.is_string(field.type):
            limit = text_limit(field.name)
            lengths = _text_lengths(column)
            for row in _where(lengths > limit):
                problems.add(row, "too_large", too_large(field.name, int(lengths[row]), limit))
        elif pa.types.is_map(field.type):
            offsets = _offsets(column)
            sizes = np.diff(offsets)
            for row in _where(sizes > MAX_ENTRIES):
                problems.add(row, "too_large", too_large(field.name, int(sizes[row]), MAX_ENTRIES, "entries"))
            for texts in (column.keys, column.items):
                if not pa.types.is_string(texts.type):
                    continue
                lengths = _text_lengths(texts)
                for row, entry in _rows_of(np.flatnonzero(lengths > MAX_TEXT_BYTES), offsets):
                    what = f"a key or value of {field.name}"
                    problems.add(row, "too_large", too_large(what, int(lengths[entry]), MAX_TEXT_BYTES))


def _times(batch: pa.RecordBatch, record_times_us: np.ndarray, problems: _Problems) -> None:
    for name in TIMES:
        times, known = _numbers(batch.column(name).view(pa.int64()))
        for row in _where(known & ((times < EARLIEST_US) | (times > LATEST_US))):
            problems.add(
                row, "out_of_bounds", f"{name} is {_instant(times[row])}, not between 2015 and 2100 (microseconds)"
            )
    times, _ = _numbers(batch.column("time").view(pa.int64()))
    bounded = np.clip(times, EARLIEST_US, LATEST_US)
    for row in _where((record_times_us >= 0) & (bounded - record_times_us > MAX_AHEAD_US)):
        ahead = timedelta(seconds=int(bounded[row] - record_times_us[row]) // 1_000_000)
        problems.add(
            row,
            "ahead_of_record",
            f"time {_instant(times[row])} is {ahead} ahead of the record's own timestamp "
            f"{_instant(record_times_us[row])}, more than 5 minutes",
        )


def _counts(batch: pa.RecordBatch, problems: _Problems) -> None:
    for name, most in COUNTS.items():
        column = batch.column(name)
        extremes = pc.min_max(column).as_py()
        if extremes["min"] is None or (extremes["min"] >= 0 and extremes["max"] <= most):
            continue
        values, known = _numbers(column)
        reason = "cost_out_of_bounds" if name == "reported_cost_picos" else "out_of_bounds"
        for row in _where(known & ((values < 0) | (values > most))):
            problems.add(row, reason, beyond(name, int(values[row]), most))


def _quantities(batch: pa.RecordBatch, problems: _Problems) -> None:
    column = batch.column("quantities")
    items = column.items.to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((items < 0) | (items > MAX_QUANTITY))
    for row, entry in _rows_of(wrong, _offsets(column)):
        name = f"quantity {column.keys[entry].as_py()!r}"
        problems.add(row, "out_of_bounds", beyond(name, int(items[entry]), MAX_QUANTITY))


def _repeated_keys(batch: pa.RecordBatch, problems: _Problems) -> None:
    """Avro lets a map name a key twice; which of the two counts would depend on who reads it."""
    for name in ("quantities", "tags"):
        column = batch.column(name)
        offsets = _offsets(column)
        most = int(np.diff(offsets).max(initial=0))
        if most < 2:
            continue
        codes = column.keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        ends = np.repeat(offsets[1:], np.diff(offsets))  # where the map of each entry ends
        first = int(offsets[0])
        for distance in range(1, min(most, MAX_ENTRIES)):
            entries = np.arange(first, first + len(ends) - distance)
            same = (codes[entries] == codes[entries + distance]) & (entries + distance < ends[: len(entries)])
            for row, entry in _rows_of(entries[same], offsets):
                problems.add(row, "contradiction", f"{name} names {column.keys[entry].as_py()!r} twice")


def _parts(batch: pa.RecordBatch, problems: _Problems) -> None:
    for parts, whole in PARTS:
        total = np.zeros(batch.num_rows, np.int64)
        for part in parts:
            if batch.column(part).null_count < batch.num_rows:
                total += _numbers(batch.column(part))[0]
        if not total.any():
            continue
        values, known = _numbers(batch.column(whole))
        for row in _where(total > values):
            said = {part: count for part in parts if (count := batch.column(part)[row].as_py()) is not None}
            value = int(values[row]) if known[row] else None
            problems.add(row, "contradiction", contradiction(said, whole, value))


def _where(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask).tolist()


def _numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The values, 0 where null, and where they are known."""
    if column.null_count == 0:
        return column.to_numpy(zero_copy_only=False), np.ones(len(column), bool)
    return pc.fill_null(column, 0).to_numpy(zero_copy_only=False), column.is_valid().to_numpy(zero_copy_only=False)


def _offsets(column: pa.MapArray) -> np.ndarray:
    """n + 1 offsets into the map's entries."""
    return column.offsets.to_numpy(zero_copy_only=False)


def _text_lengths(column: pa.StringArray) -> np.ndarray:
    """Bytes of each text; 0 where null."""
    if len(column) == 0:
        return np.empty(0, np.int32)
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    return np.diff(offsets)


def _rows_of(entries: np.ndarray, offsets: np.ndarray) -> Iterable[tuple[int, int]]:
    """The row of each of some entries of a map column."""
    for entry in entries:
        if offsets[0] <= entry < offsets[-1]:
            yield int(np.searchsorted(offsets, entry, side="right")) - 1, int(entry)


def _instant(us: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(us))).isoformat(timespec="seconds")
    except OverflowError:
        return f"{int(us):,} µs"
