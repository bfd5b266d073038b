"""Structured logs: one line an event, text for people or JSON for machines; never a payload, never a secret."""

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime

from streams.settings import Settings

_SAME_SECONDS = 10.0


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Seldom(logging.Filter):
    """Kafka's clients tell of a broker that is away at each of ten attempts a second: once in ten seconds will do.

    Lines that differ in numbers alone (ports, milliseconds, names of clients) count as the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to tell it."""
        if not record.name.startswith(("aiokafka", "spendstream.kafka")):
            return True
        line = re.sub(r"\d+", "", record.getMessage())
        if time.monotonic() - self._told.get(line, -_SAME_SECONDS) < _SAME_SECONDS:
            return False
        self._told[line] = time.monotonic()
        return True


def setup_logging(settings: Settings) -> None:
    """Send all logs of this process to stderr in the format of SPEND_LOG_FORMAT."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Seldom())
    handler.setFormatter(
        _Json()
        if settings.log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("faust", "mode", "aiokafka", "aiohttp.access", "kafka", "urllib3", "clickhouse_connect"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # whatever its level: it tells the paths of requests, and a chat's address is a secret
    logging.getLogger("urllib3.connectionpool").addFilter(lambda record: record.levelno >= logging.WARNING)
    logging.getLogger("mode.timers").setLevel(logging.ERROR)  # a timer that waits for a merge is no news
