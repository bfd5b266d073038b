"""A dedup index as a local file: a shortcut past reading the blocks again, never the truth.

The truth is the log of decisions, `spend.priced`. A file that is of another log, partition, fingerprint function or
format, that holds too short a horizon or that is damaged is of no use, and the index is rebuilt from the blocks.

The file is a zip archive, stored: `about.json`, and `entries`, three little-endian 8-byte words each (the two halves of
the fingerprint, the offset) in offset order. The archive's CRC-32 finds damage.
"""

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import FINGERPRINT

_FORMAT = 1
_ENTRY_BYTES = 24
_PIECE = 262_144  # entries read together


def save(index: DedupIndex, path: Path, log_id: str, partition: int) -> None:
    """Write an index to a cache file, whole or not at all. Only decisions that the log holds may be in it.

    Args:
        index: the index; every block up to `index.newest` has been acknowledged.
        path: the file; its folder exists.
        log_id: id of the usage log.
        partition: the usage partition.

    Raises:
        OSError: the file cannot be written.
    """
    about = {
        "format": _FORMAT,
        "fingerprint": FINGERPRINT,
        "log_id": log_id,
        "partition": partition,
        "horizon": index.horizon,
        "newest": index.newest,
    }
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("about.json", json.dumps(about))
            with archive.open("entries", "w", force_zip64=True) as entries:
                for keys, offsets in index.entries():
                    rows = np.column_stack((keys, offsets.astype(np.uint64)))
                    entries.write(rows.astype("<u8", copy=False).data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load(path: Path, log_id: str, partition: int, horizon: int) -> tuple[DedupIndex | None, str]:
    """Read a cache file back.

    Args:
        path: the file that `save` wrote.
        log_id: id of the usage log that the index must be of.
        partition: the usage partition that it must be of.
        horizon: the horizon that is wanted.

    Returns:
        The index and "", or None and why the file is of no use. Never raises for what the file holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("about.json"))
            expected = {"format": _FORMAT, "fingerprint": FINGERPRINT, "log_id": log_id, "partition": partition}
            for name, value in expected.items():
                if about.get(name) != value:
                    return None, f"{path}: its {name} is {about.get(name)!r}, not {value!r}"
            if about["horizon"] < horizon:
                return None, f"{path}: it holds {about['horizon']} offsets, the horizon is {horizon}"
            index = DedupIndex(horizon)
            with archive.open("entries") as entries:
                while piece := entries.read(_PIECE * _ENTRY_BYTES):
                    rows = np.frombuffer(piece, dtype="<u8").reshape(-1, 3)
                    index.load(rows[:, :2], rows[:, 2].astype(np.int64))
            if about["newest"] is not None:
                index.load(np.zeros((0, 2), dtype=np.uint64), np.zeros(0, dtype=np.int64), int(about["newest"]))
            return index, ""
    except FileNotFoundError:
        return None, f"{path}: there is none"
    except (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError) as exc:
        return None, f"{path}: damaged ({exc})"
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as exc:
        return None, f"{path}: damaged ({exc})"
