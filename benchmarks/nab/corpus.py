"""The labelled series: read from the shared folder, never copied.

A series is a gzipped CSV of `timestamp,value`; `windows.json` names the labelled windows of each by their times.
"""

import csv
import gzip
import json
import os
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from streams.errors import SpendError

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Series:
    """`times` are int64 seconds since the epoch (n,), `values` floats (n,), `windows` first and last record of each label."""

    name: str
    times: np.ndarray
    values: np.ndarray
    windows: tuple[tuple[int, int], ...]


def corpus_folder() -> Path:
    """Where the series are: SPEND_SHARED_DATA, or the folder beside the repository."""
    return Path(os.environ.get("SPEND_SHARED_DATA", REPOSITORY.parent / "shared" / "data")) / "nab"


def read_corpus(folder: Path) -> list[Series]:
    """All series that `windows.json` of the folder names, in the order of their names.

    Raises:
        SpendError: the folder has no labels, or a series they name is missing.
    """
    labels = folder / "windows.json"
    if not labels.is_file():
        raise SpendError(
            f"{labels} is missing: name the folder of the labelled series with --data or SPEND_SHARED_DATA"
        )
    windows = json.loads(labels.read_text(encoding="utf-8"))
    return [_read(folder, name, windows[name]) for name in sorted(windows)]


def _read(folder: Path, name: str, labels: list[list[str]]) -> Series:
    path = folder / f"{name}.gz"
    opened = gzip.open(path, "rt", encoding="utf-8") if path.is_file() else _plain(folder / name)
    with opened as lines:
        rows = list(csv.DictReader(lines))
    times = [_seconds(row["timestamp"]) for row in rows]
    spans = [(bisect_left(times, _seconds(first)), bisect_right(times, _seconds(last)) - 1) for first, last in labels]
    return Series(name, np.array(times), np.array([float(row["value"]) for row in rows]), tuple(spans))


def _plain(path: Path):  # type: ignore[no-untyped-def]
    if not path.is_file():
        raise SpendError(f"{path} is missing, plain or gzipped, though windows.json names it")
    return path.open(encoding="utf-8")


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
