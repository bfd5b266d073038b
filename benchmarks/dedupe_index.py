"""What duplicates cost: µs an event, bytes an entry, seconds of a rebuild.

    python -m benchmarks.dedupe_index              at 1 million and 10 million entries
    python -m benchmarks.dedupe_index 100000000    and at any other size

Keys are random, as fingerprints are: each lookup is a miss of the processor's caches. Measure on a quiet machine.
"""

import resource
import sys
import time
import uuid
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import fingerprints

BATCH = 50_000
BATCHES = 40


def main() -> None:
    """Print one line a measurement."""
    print(f"fingerprint of source and a UUID         {_fingerprint_us():6.3f} µs an event")
    for entries in [int(size) for size in sys.argv[1:]] or [1_000_000, 10_000_000]:
        _index(entries)


def _fingerprint_us() -> float:
    sources = pa.array([f"gateway/eu-{n % 7}" for n in range(BATCH)])
    ids = pa.array([str(uuid.UUID(int=n * 0x9E3779B97F4A7C15 % 2**128)) for n in range(BATCH)])
    return min(_seconds(fingerprints, sources, ids) for _ in range(5)) / BATCH * 1e6


def _index(entries: int) -> None:
    random = np.random.default_rng(entries)

    def keys(count: int) -> np.ndarray:
        return random.integers(0, 2**64, (count, 2), dtype=np.uint64)

    index = DedupIndex(entries)
    rebuild = 0.0
    for start in range(0, entries, BATCH):  # as the blocks come
        block, offsets = keys(min(BATCH, entries - start)), np.arange(start, min(start + BATCH, entries))
        rebuild += _seconds(index.load, block, offsets)
    memory = index.nbytes / len(index)
    full = []
    for start in range(entries, entries + BATCHES * BATCH, BATCH):
        fresh, offsets = keys(BATCH), np.arange(start, start + BATCH)
        fresh[::100] = block[-BATCH:][: len(fresh[::100])]  # 1 % are duplicates
        full.append(_seconds(index.accept, fresh, offsets))
        block = fresh
    growing = DedupIndex(entries)
    growth = []
    for start in range(0, min(entries, 4_000_000), BATCH):
        growth.append(_seconds(growing.accept, keys(BATCH), np.arange(start, start + BATCH)))
    print(f"{entries:,} entries, the horizon full")
    print(f"  accept a batch of {BATCH:,}               {sum(full) / BATCHES / BATCH * 1e6:6.3f} µs an event")
    print(f"  the slowest of {BATCHES} batches              {max(full) * 1e3:6.1f} ms")
    print(
        f"  while growing, mean / slowest batch    {sum(growth) / len(growth) / BATCH * 1e6:6.3f} µs an event, ", end=""
    )
    print(f"{max(growth) * 1e3:.1f} ms")
    print(f"  memory                                 {memory:6.1f} bytes an entry")
    print(f"  rebuild from fingerprints              {rebuild:6.2f} s")
    print(
        f"  most memory of this process so far     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB"
    )


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
