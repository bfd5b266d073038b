"""Mends what a SIGKILL can leave in a MergeTree table on one machine: an insert token without its part.

A table that is not replicated writes the token into `deduplication_logs/` and only then renames the part into place
(ClickHouse, MergeTreeSink: `addPart`, then `renameTempPartAndAdd`). Killed between the two, the server would take the
sink's repeated insert for a duplicate and the rows would be missing for ever. So before the engine opens its files,
tokens whose part is not there are taken out of the log: the repeated insert then counts. Replicated tables commit the
token and the part in one Keeper transaction and need nothing of this.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ADD = b"1"
DROP = b"2"

# Inserts under way at once when the server died; each can leave one token per month that its block touches.
LAST_RECORDS = 1_024


@dataclass(frozen=True)
class PartRange:
    """Blocks that a part holds: partition id, first and last block number."""

    partition: str
    first: int
    last: int

    @classmethod
    def of(cls, name: str) -> "PartRange | None":
        """From a part's name, `partition_first_last_level` and perhaps `_mutation`; None for any other name."""
        fields = name.split("_")
        if len(fields) not in (4, 5) or not all(field.isdigit() for field in fields[1:]):
            return None
        return cls(fields[0], int(fields[1]), int(fields[2]))

    def covers(self, other: "PartRange") -> bool:
        """Whether this part is the other one, or was merged from it."""
        return self.partition == other.partition and self.first <= other.first and other.last <= self.last


def mend(data: Path) -> list[str]:
    """Take tokens without a part out of every table under `data`, which no engine may have open.

    Args:
        data: the engine's data directory.

    Returns:
        What was taken out, `table directory: part name`, for the log; empty after an orderly stop.
    """
    mended = []
    for logs in sorted(data.glob("store/*/*/deduplication_logs")):
        mended += [f"{logs.parent.name}: {part}" for part in _mend_table(logs)]
    return mended


def _mend_table(logs: Path) -> Iterator[str]:
    table = logs.parent
    present = [part for entry in table.iterdir() if entry.is_dir() and (part := PartRange.of(entry.name))]
    for unfinished in logs.glob("*.mended"):
        unfinished.unlink()
    left = LAST_RECORDS
    for path in sorted(logs.glob("deduplication_log_*.txt"), key=_number, reverse=True):
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        # A record cut short would swallow the next one that is appended.
        kept = [line for line in lines if line.endswith(b"\n")]
        dropped = {line.split(b"\t")[2] for line in kept if line.startswith(DROP)}
        for line in kept[-left:]:
            operation, name, token = line.split(b"\t")
            wanted = PartRange.of(name.decode())
            if operation != ADD or token in dropped or wanted is None:
                continue
            if not any(part.covers(wanted) for part in present):
                kept.remove(line)
                yield name.decode()
        if len(kept) != len(lines):
            _replace(path, b"".join(kept))
        left -= len(lines)
        if left <= 0:
            return


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _replace(path: Path, content: bytes) -> None:
    """A crash in here leaves the old log or the new one, never half of one."""
    beside = path.with_suffix(".mended")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
