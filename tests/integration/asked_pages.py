"""Pages asked as Grafana asks them: a panel's committed JSON, a range and what was chosen, to rows of the engine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from priced_rows import Row, embedded_clickhouse, insert

from clickhouse.client import connect
from clickhouse.migrate import up
from grafana.build import FOLDER
from grafana.macros import TimeRange
from grafana.panel_query import Chosen, resolve, resolve_variable
from grafana.panels import stable_id
from streams.settings import Settings

Answer = list[dict[str, Any]]

POINTS = 1_000  # width of every panel
_KEPT = {"raw_retention_days": 20_000, "rollup_retention_days": 20_000}  # whatever the clock says when tests run


class Engine:
    """An embedded server with a database for each set of calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: set[str] = set()

    def database(self, name: str, calls: list[Row], timezone: str = "UTC") -> Client:
        """A client of the database of that name: made once, with the calls, of an organisation of that time zone."""
        own = self._settings.model_copy(update={"clickhouse_database": name, "timezone": timezone, **_KEPT})
        client = connect(own)
        if name not in self._made:
            up(client, own, lambda: None)
            if calls:
                insert(client, own, calls, "log:0:0")
            self._made.add(name)
        client.database = name
        return client


@contextmanager
def engine(path: Path) -> Iterator[Engine]:
    """An embedded server over the files in `path`."""
    with embedded_clickhouse(path) as settings:
        yield Engine(settings)


class Page:
    """A dashboard over a database."""

    def __init__(self, uid: str, client: Client) -> None:
        self.board = json.loads((FOLDER / f"{uid}.json").read_text(encoding="utf-8"))
        self._client = client
        self._zone = client.query("SELECT timezone FROM organisation").result_rows[0][0]

    @property
    def panels(self) -> list[dict[str, Any]]:
        """Those that ask something."""
        return [panel for panel in self.board["panels"] if "targets" in panel]

    def ask(self, name: str, start: datetime, end: datetime, **chosen: str | list[str]) -> Answer:
        """The rows of the panel of that name, over the range; columns by their names."""
        return self.ask_panel(stable_id(name), start, end, **chosen)

    def ask_panel(self, panel_id: int, start: datetime, end: datetime, **chosen: str | list[str]) -> Answer:
        return self._rows(
            resolve(self.board, panel_id, "A", span(start, end), self._all(chosen), max_data_points=POINTS)
        )

    def options(self, variable: str, start: datetime, end: datetime, **chosen: str | list[str]) -> list[Any]:
        """What a variable's query lists."""
        sql = resolve_variable(self.board, variable, span(start, end), self._all(chosen))
        assert sql is not None
        return [next(iter(row.values())) for row in self._rows(sql)]

    def _all(self, chosen: Chosen) -> Chosen:
        return {"tz": self._zone, **chosen}

    def _rows(self, sql: str) -> Answer:
        return list(self._client.query(sql).named_results())


def span(start: datetime, end: datetime) -> TimeRange:
    """A range of aware datetimes."""
    return TimeRange(int(start.timestamp() * 1000), int(end.timestamp() * 1000))
