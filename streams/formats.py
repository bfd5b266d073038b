"""Readers of CSV and JSON lines: one usage event a line, whose columns are the event's own fields.

The columns come from schemas/usage_event.avsc. A line that cannot become an event is reported with its number and the
reason; the others go on.
"""

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np
import pyarrow as pa

from streams.errors import SpendError
from streams.event_columns import Value, batch_of, columns, event_of, is_entry

PORTION_LINES = 20_000


@dataclass(frozen=True)
class BadLine:
    """A line that did not become an event."""

    number: int
    reason: str


@dataclass(frozen=True)
class Portion:
    """Events of a stretch of the input, in its order, with the lines that were left out."""

    batch: pa.RecordBatch  # schema usage_event_arrow()
    lines: np.ndarray  # the line number of each event
    bad: list[BadLine] = field(default_factory=list)


class Input:
    """A file to read, gzip or plain, or standard input when its name is `-`.

    Raises:
        SpendError: it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            # Standard input may be anything that reads; only a buffered reader can look at the first bytes.
            source = sys.stdin.buffer if name == "-" else Path(name).open("rb", buffering=0)  # noqa: SIM115
            self._raw = io.BufferedReader(cast(io.RawIOBase, source))
            self.size = None if name == "-" else Path(name).stat().st_size
            head = self._raw.peek(2)[:2]
        except OSError as exc:
            raise SpendError(f"{name}: cannot be read ({exc.strerror or exc})") from exc
        self.stream = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw) if head == b"\x1f\x8b" else self._raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.size is not None:
            self._raw.close()

    def position(self) -> int:
        """Bytes of the file read so far (compressed ones, where it is compressed)."""
        return self._raw.tell() if self.size is not None else 0


def read_jsonl(stream: BinaryIO) -> Iterator[Portion]:
    """Events of JSON lines: one object a line; quantities and tags are objects, or fields such as `tags.x`."""
    return _portions(_jsonl_rows(stream))


def _jsonl_rows(stream: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any] | BadLine]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line, parse_float=Decimal, parse_constant=_no_constant)
        except (ValueError, RecursionError) as exc:
            yield number, BadLine(number, f"is not JSON ({exc})")
            continue
        yield number, found if isinstance(found, dict) else BadLine(number, "is not a JSON object")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_csv(stream: BinaryIO) -> Iterator[Portion]:
    """Events of CSV with a heading; an empty cell is null; maps are columns such as `tags.x` and `quantities.page`.

    Raises:
        SpendError: the heading has a column that an event does not have, or lacks one that it needs.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = csv.reader(text)
    heading = [name.strip() for name in next(lines, [])]
    unknown = [name for name in heading if name not in columns() and not is_entry(name)]
    if unknown:
        raise SpendError(f"CSV: unknown column {', '.join(unknown)}; `spendstream produce --help` lists the columns")
    missing = [name for name, column in columns().items() if column.required and name not in heading]
    if missing:
        raise SpendError(f"CSV: the heading lacks {', '.join(missing)}; `spendstream produce --help` lists the columns")
    if len(set(heading)) < len(heading):
        raise SpendError("CSV: the heading names a column twice")
    return _portions(_csv_rows(text, lines, heading))


def _csv_rows(
    text: io.TextIOWrapper, lines: Any, heading: list[str]
) -> Iterator[tuple[int, Mapping[str, Any] | BadLine]]:
    try:
        while True:
            number = lines.line_num + 1  # a quoted cell may span lines: the number is that of the first
            try:
                cells = next(lines)
            except StopIteration:
                return
            except csv.Error as exc:
                yield number, BadLine(number, f"is not CSV ({exc})")
                continue
            if not cells:
                continue
            if len(cells) != len(heading):
                yield number, BadLine(number, f"has {len(cells)} cells where the heading has {len(heading)}")
                continue
            yield number, {name: cell for name, cell in zip(heading, cells, strict=True) if cell != ""}
    finally:
        text.detach()  # or it would close the stream, which is its owner's


def _portions(rows: Iterator[tuple[int, Mapping[str, Any] | BadLine]]) -> Iterator[Portion]:
    while stretch := list(islice(rows, PORTION_LINES)):
        events: list[dict[str, Value]] = []
        lines: list[int] = []
        bad: list[BadLine] = []
        for number, row in stretch:
            if isinstance(row, BadLine):
                bad.append(row)
                continue
            try:
                events.append(event_of(row))
                lines.append(number)
            except ValueError as exc:
                bad.append(BadLine(number, str(exc)))
        yield Portion(batch_of(events), np.array(lines, np.int64), bad)
