"""A worker with a stage of its own, for `test_transport.py`: it notes every batch as a JSON line on its output.

    python batch_worker.py FOLDER '{"topic": "t", "block_events": 10, ...}'

Where a partition goes on is kept in a file of FOLDER, so that workers can take partitions over from each other.
A file `pause` in FOLDER names partitions that are not to be fetched.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from faust.types import TP

from streams.app import price_app, run
from streams.gathering import Batch
from streams.log import setup_logging
from streams.settings import settings
from streams.transport import BATCH_BYTES


def note(**line: object) -> None:
    """Tell the test what happened."""
    print(json.dumps({"at": time.monotonic(), **line}), flush=True)


@dataclass
class NotingStage:
    """Takes its time over a batch, and notes it."""

    folder: Path
    topic: str
    block_seconds: float = 0.2
    block_events: int = 1000
    stall_seconds: float = 60.0
    work_seconds: float = 0.0
    takeover_seconds: float = 0.0
    hang_at: int | None = None  # the batch that holds this offset is never done
    ready: bool = False
    agent: str = "noting"
    batch_bytes: int = BATCH_BYTES
    as_columns: bool = False
    epoch: int = 0

    async def positions(self, tps: set[TP], epoch: int) -> Mapping[TP, int]:
        await asyncio.sleep(self.takeover_seconds)
        self.epoch = epoch
        self.ready = True
        positions = {tp: self._read(tp) for tp in tps}
        note(assigned={str(tp.partition): offset for tp, offset in positions.items()})
        return positions

    def _read(self, tp: TP) -> int:
        file = self.folder / f"{tp.topic}-{tp.partition}"
        return int(file.read_text()) if file.exists() else 0

    async def process(self, batch: Batch) -> None:
        if batch.epoch != self.epoch:
            return
        offsets = batch.columns.offsets.tolist() if self.as_columns else [r.offset for r in batch.records]
        note(began=batch.tp.partition, first=offsets[0], last=offsets[-1], count=len(offsets))
        if offsets != sorted(offsets):
            self.fatal(AssertionError("a batch is not in the order of its offsets"))
        if self.hang_at is not None and offsets[0] <= self.hang_at <= offsets[-1]:
            await asyncio.sleep(3600)
        await asyncio.sleep(self.work_seconds)
        file = self.folder / f"{batch.tp.topic}-{batch.tp.partition}"
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(str(offsets[-1] + 1))
        beside.replace(file)
        note(ended=batch.tp.partition, first=offsets[0], last=offsets[-1])

    def fatal(self, exc: BaseException) -> NoReturn:
        note(fatal=f"{type(exc).__name__}: {exc}")
        os._exit(getattr(exc, "exit_code", 1))


def main() -> None:
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    conf = settings()
    setup_logging(conf)
    stage = NotingStage(folder, **options)
    app = price_app(conf, stage)  # type: ignore[arg-type]

    most = 0

    @app.timer(0.05)
    async def look() -> None:
        nonlocal most
        gathered = max((p.gathered.count for p in app.consumer._partitions.values()), default=0)  # type: ignore[attr-defined]
        if gathered > most:
            most = gathered
            note(gathered=most)

    @app.timer(0.05)
    async def pause() -> None:
        file = folder / "pause"
        wanted = {TP(options["topic"], int(p)) for p in file.read_text().split()} if file.exists() else set()
        consumer = app.consumer
        paused = set(consumer._paused_partitions)  # type: ignore[attr-defined]
        if app.rebalancing or not stage.ready or wanted == paused:
            return
        consumer.resume_partitions(paused - wanted)
        consumer.pause_partitions(wanted - paused)
        note(paused=sorted(tp.partition for tp in wanted))

    run(app)


if __name__ == "__main__":
    main()
