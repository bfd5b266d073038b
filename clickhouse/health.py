"""How the sink went: every few seconds a row a partition, its counts and where the log of events ended just then.

`progress` says only where the sink is, and only when a block came. Pages also ask how it went, and whether events wait
while nothing comes: the reports are written whatever happens. Nothing depends on them: one that is lost or written
twice changes no figure, and while Kafka or ClickHouse does not answer there are none.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from clickhouse.client import connect
from clickhouse.progress import Progress
from clickhouse.retry import fatal, first_line
from streams import topics
from streams.errors import Unreachable
from streams.kafka import reader, watermarks
from streams.settings import Settings

log = logging.getLogger("spendstream.sink")

EVERY_SECONDS = 5.0
_LOOK_SECONDS = 0.2  # for partitions, while there are none
_JOIN_SECONDS = 10.0


class HealthReports:
    """Writes reports until `stop`, in a thread, with clients of its own, so that the sink never waits for them."""

    def __init__(self, settings: Settings, progress: Callable[[], Sequence[Progress]]) -> None:
        """`progress`: asked for that of each partition which the sink has."""
        self._settings = settings
        self._progress = progress
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the thread's end. One that hangs is left: it owes nothing."""
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        client: Client | None = None
        pause = _LOOK_SECONDS
        try:
            while not self._stopping.wait(pause):
                parts = self._progress()
                pause = EVERY_SECONDS if parts else _LOOK_SECONDS
                if not parts:
                    continue
                try:
                    client = client or connect(self._settings)
                    write_health(client, self._settings, parts, self._ends(parts), datetime.now(UTC))
                except (Unreachable, ClickHouseError, OSError) as exc:
                    log.warning("no report of health is written (%s)", first_line(exc))
        except Exception as exc:
            fatal(exc)

    def _ends(self, parts: Sequence[Progress]) -> list[int]:
        looker = reader(self._settings)
        try:
            return [watermarks(looker, topics.USAGE, part.partition)[1] for part in parts]
        finally:
            looker.close()


def write_health(
    client: Client, settings: Settings, parts: Sequence[Progress], ends: Sequence[int], now: datetime
) -> None:
    """Add a report on each partition.

    Args:
        client: any connection to the server.
        settings: name the database.
        parts: how far each partition is.
        ends: one beyond the last record of each partition of spend.usage.
        now: aware; when the ends were asked for.
    """
    rows = [
        {
            "recorded_at": now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            "priced_log_id": part.block_log_id,
            "log_id": part.log_id,
            "source_partition": part.partition,
            "usage_end": end,
            "mark": -1 if part.mark is None else part.mark,
            "block_offset": part.block_offset,
            "blocks": part.blocks,
            "rows": part.rows,
            "duplicates": part.duplicates,
            "dead_letters": dict(part.dead_letters),
            "misrouted": part.misrouted,
            "event_time_max": _told(part.event_time_max),
        }
        for part, end in zip(parts, ends, strict=True)
    ]
    client.raw_insert(
        f"{settings.clickhouse_database}.health",
        insert_block="\n".join(json.dumps(row) for row in rows).encode(),
        fmt="JSONEachRow",
        settings={"async_insert": 0},
    )


def _told(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:06}"
