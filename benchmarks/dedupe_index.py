"""What duplicates cost: µs an event, bytes an entry, seconds of a rebuild.

    python -m benchmarks.dedupe_index              at 1 million and 10 million entries
    python -m benchmarks.dedupe_index 100000000    and at any other size

Keys are random, as fingerprints are: each lookup is a miss of the processor's caches. Measure on a quiet machine.
"""

import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.machine import peak_memory
from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import fingerprints

BATCH = 50_000
BATCHES = 40


@dataclass(frozen=True)
class Measured:
    """Of an index whose horizon is full."""

    entries: int
    accept: float  # µs an event, 1 % of them duplicates
    slowest: float  # milliseconds of the slowest batch
    bytes_each: float  # bytes an entry
    rebuild: float  # seconds, from fingerprints
    memory: float  # MB, the most of the process


def main() -> None:
    """Print one line a measurement."""
    print(f"fingerprint of source and a UUID         {_fingerprint_us():6.3f} µs an event")
    for entries in [int(size) for size in sys.argv[1:]] or [1_000_000, 10_000_000]:
        found, growth = measure(entries), _growth(entries)
        print(f"{entries:,} entries, the horizon full")
        print(f"  accept a batch of {BATCH:,}               {found.accept:6.3f} µs an event")
        print(f"  the slowest of {BATCHES} batches              {found.slowest:6.1f} ms")
        mean = sum(growth) / len(growth) / BATCH * 1e6
        print(f"  while growing, mean / slowest batch    {mean:6.3f} µs an event, {max(growth) * 1e3:.1f} ms")
        print(f"  memory                                 {found.bytes_each:6.1f} bytes an entry")
        print(f"  rebuild from fingerprints              {found.rebuild:6.2f} s")
        print(f"  most memory of this process so far     {found.memory:6.0f} MB")


def measure(entries: int) -> Measured:
    """Fill an index as a rebuild does, then let it decide batches; at 100 million entries half a minute, 2.5 GB."""
    random = np.random.default_rng(entries)
    index = DedupIndex(entries)
    rebuild = 0.0
    for start in range(0, entries, BATCH):  # as the blocks come
        block, offsets = _keys(random, min(BATCH, entries - start)), np.arange(start, min(start + BATCH, entries))
        rebuild += _seconds(index.load, block, offsets)
    bytes_each = index.nbytes / len(index)
    full = []
    for start in range(entries, entries + BATCHES * BATCH, BATCH):
        fresh, offsets = _keys(random, BATCH), np.arange(start, start + BATCH)
        fresh[::100] = block[-BATCH:][: len(fresh[::100])]  # 1 % are duplicates
        full.append(_seconds(index.accept, fresh, offsets))
        block = fresh
    accept = sum(full) / BATCHES / BATCH * 1e6
    return Measured(entries, accept, max(full) * 1e3, bytes_each, rebuild, peak_memory(os.getpid()))


def _growth(entries: int) -> list[float]:
    """Seconds of each batch while an empty index grows."""
    random, index = np.random.default_rng(entries + 1), DedupIndex(entries)
    starts = range(0, min(entries, 4_000_000), BATCH)
    return [_seconds(index.accept, _keys(random, BATCH), np.arange(start, start + BATCH)) for start in starts]


def _keys(random: np.random.Generator, count: int) -> np.ndarray:
    return random.integers(0, 2**64, (count, 2), dtype=np.uint64)


def _fingerprint_us() -> float:
    sources = pa.array([f"gateway/eu-{n % 7}" for n in range(BATCH)])
    ids = pa.array([str(uuid.UUID(int=n * 0x9E3779B97F4A7C15 % 2**128)) for n in range(BATCH)])
    return min(_seconds(fingerprints, sources, ids) for _ in range(5)) / BATCH * 1e6


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
