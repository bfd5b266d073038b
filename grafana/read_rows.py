"""Asks ClickHouse as the user who may only read, within limits, and tells failures with what mends them."""

import asyncio
import json
import logging
import re
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from clickhouse.client import connect_reader
from streams.errors import SpendError
from streams.settings import Settings

log = logging.getLogger("grafana.preview")

_SECONDS = 15  # a query that takes longer is ended
_ROWS = 20_000  # more would only choke the browser
_AT_ONCE = 4  # queries; the others wait
_SETTINGS = {
    "max_execution_time": _SECONDS,
    "max_result_rows": _ROWS,
    "result_overflow_mode": "throw",
    "output_format_json_quote_64bit_integers": 1,
    "output_format_json_quote_decimals": 1,
    "date_time_output_format": "iso",  # UTC, whatever zone a column has; `_plain_times` takes T and Z away
}
_TOO_SLOW = 159
_MENDS = {
    60: "spendstream migrate up makes the tables",
    81: "spendstream migrate up makes the database",
    _TOO_SLOW: "choose a shorter range",
    241: "choose a shorter range or fewer members",
    396: "choose a shorter range or fewer members",
    497: "what the reader may read stands in deploy/clickhouse/users.d/reader.xml",
}


class QueryFailed(SpendError):
    """ClickHouse did not run a query: the message says which, why and, where it is known, what mends it."""

    def __init__(self, message: str, too_slow: bool) -> None:
        super().__init__(message)
        self.too_slow = too_slow


class Reader:
    """One client for all questions, made with the first one: the preview may start before ClickHouse does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def ask(self, sql: str, what: str) -> dict[str, Any]:
        """Run a SELECT: ClickHouse's JSONCompact, with decimals and 64-bit numbers as strings and times in UTC.

        Args:
            sql: what to send.
            what: what it is for, in words, for the error.

        Raises:
            QueryFailed: ClickHouse refused it, or it took too long.
            Unreachable: ClickHouse does not answer, or refuses the reader.
        """
        async with self._turn:
            client = await self._connected()
            try:
                answer = await asyncio.to_thread(client.raw_query, sql, fmt="JSONCompact", settings=_SETTINGS)
            except ClickHouseError as error:
                raise _failure(what, error) from error
        found: dict[str, Any] = json.loads(answer)
        return _plain_times(found)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(connect_reader, self._settings, _SECONDS + 5)
            return self._client


def _failure(what: str, error: ClickHouseError) -> QueryFailed:
    code = getattr(error, "code", None) or 0
    text = re.sub(r"\s+", " ", str(error))
    found = re.search(r"DB::Exception: (.*?)(?: \(version | \(for url |$)", text)
    said = (found[1] if found else text)[:600]
    mend = _MENDS.get(code, "")
    told = f"{what}: {said}" + (f": {mend}" if mend else "")
    log.warning("%s", told)
    return QueryFailed(told, code == _TOO_SLOW)


def _plain_times(found: dict[str, Any]) -> dict[str, Any]:
    """`2026-01-31T23:00:00Z` as `2026-01-31 23:00:00` in the columns of times."""
    times = [at for at, column in enumerate(found["meta"]) if re.match(r"(Nullable\()?DateTime", column["type"])]
    for row in found["data"]:
        for at in times:
            if row[at] is not None:
                row[at] = row[at].replace("T", " ").removesuffix("Z")
    return found
