"""From the emission of an event to the first query that sees its row."""

import time
from collections import defaultdict

import numpy as np

from benchmarks.figures import Figure, Section
from clickhouse.client import connect
from streams.settings import Settings

_CHEAP = "SETTINGS max_threads = 1, use_skip_indexes = 0"  # a look reads a few granules by the order of the table


class Rows:
    """Looks, again and again, up to which source offset each partition's rows are there.

    Blocks of a partition are inserted in order, so an event is queryable from the first look on whose greatest offset
    is its own or a later one. The look's end is taken: the figures are upper bounds, by the time between two looks.
    A look asks for what is beyond the last one, by the order of the table: it costs little, whatever is there.
    """

    def __init__(self, conf: Settings) -> None:
        self._client = connect(conf)
        self._table = f"{conf.clickhouse_database}.usage"
        self._looks: dict[int, list[tuple[float, int]]] = defaultdict(list)  # by partition: when, greatest offset
        self._between: list[float] = []
        self._before = dict.fromkeys(range(conf.partitions), -1)  # greatest source offset of each partition
        self._before = self._seen = self._before | dict(self._greatest(self._before))
        self._looked = time.time()

    def look(self) -> float:
        """Ask once; returns when the answer was there, seconds since 1970."""
        found = self._greatest(self._seen)
        now = time.time()
        self._between.append(now - self._looked)
        self._looked = now
        self._seen = self._seen | dict(found)
        for partition, offset in found:
            self._looks[partition].append((now, offset))
        return now

    @property
    def count(self) -> int:
        """Offsets passed since the beginning, which is how many rows came where every record becomes one."""
        return sum(self._seen.values()) - sum(self._before.values())

    @property
    def interval(self) -> float:
        """Median seconds between two looks."""
        return float(np.median(self._between))

    def waits(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each row that was seen: `emitted_at`, seconds since 1970, and seconds from then until it was seen."""
        sql = "SELECT source_partition, source_offset, toUnixTimestamp64Micro(assumeNotNull(emitted_at)) FROM"
        rows = self._client.query_arrow(f"{sql} {self._table} WHERE {_beyond(self._before)}")
        partitions, offsets, micros = (column.to_numpy() for column in rows.columns)
        emitted, seen = micros / 1e6, np.full(rows.num_rows, np.nan)
        for partition, seen_up_to in self._looks.items():
            at, greatest = (np.array(column) for column in zip(*seen_up_to, strict=True))
            mine = (partitions == partition) & (offsets <= greatest[-1])
            seen[mine] = at[np.searchsorted(greatest, offsets[mine])]
        known = ~np.isnan(seen)
        return emitted[known], (seen - emitted)[known]

    def _greatest(self, seen: dict[int, int]) -> list[tuple[int, int]]:
        """Of each partition with rows beyond `seen`, itself and its greatest source offset."""
        sql = f"SELECT source_partition, max(source_offset) FROM {self._table} WHERE {_beyond(seen)}"
        return [(row[0], row[1]) for row in self._client.query(f"{sql} GROUP BY source_partition {_CHEAP}").result_rows]


def _beyond(seen: dict[int, int]) -> str:
    return " OR ".join(f"(source_partition = {number} AND source_offset > {at})" for number, at in seen.items())


def add_waits(section: Section, waits: np.ndarray, wanted: float, of: str = "") -> None:
    """Median, 99th percentile and longest of waits in seconds; `wanted`: the most of the percentile, 0: whatever."""
    p99 = float(np.quantile(waits, 0.99))
    limit = f"under {wanted:g} s" if wanted else ""
    section.figures.append(Figure(f"{of}median", f"{np.quantile(waits, 0.5):.2f} s"))
    section.figures.append(Figure(f"{of}99th percentile", f"{p99:.2f} s", "", limit, not wanted or p99 < wanted))
    section.figures.append(Figure(f"{of}longest", f"{waits.max():.2f} s"))
