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
    """`times` int64 seconds since the epoch (n,), `values` floats (n,), `windows` first and last record of labels."""

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
    rows = list(csv.DictReader(_text(folder, name).splitlines()))
    times = [_seconds(row["timestamp"]) for row in rows]
    spans = [(bisect_left(times, _seconds(first)), bisect_right(times, _seconds(last)) - 1) for first, last in labels]
    return Series(name, np.array(times), np.array([float(row["value"]) for row in rows]), tuple(spans))


def _text(folder: Path, name: str) -> str:
    packed, plain = folder / f"{name}.gz", folder / name
    if packed.is_file():
        return gzip.decompress(packed.read_bytes()).decode()
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    raise SpendError(f"{plain} is missing, plain or gzipped, though windows.json names it")


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
