"""A dashboard over the embedded ClickHouse: what its panels and variables find, asked as Grafana would ask."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clickhouse_connect.driver.client import Client

from clickhouse.client import connect
from grafana.dashboard import Dashboard
from grafana.macros import TimeRange, expand
from grafana.panel_query import resolve, resolve_annotation, resolve_variable
from grafana.panels import stable_id
from streams.settings import Settings

Found = list[dict[str, Any]]


def between(start: datetime, end: datetime) -> TimeRange:
    """The range of two aware times."""
    return TimeRange(int(start.timestamp() * 1000), int(end.timestamp() * 1000))


@dataclass
class Page:
    """One dashboard and the database behind it; `time_zone` is what its hidden variable holds."""

    dashboard: dict[str, Any]
    client: Client
    time_zone: str

    @classmethod
    def of(cls, dashboard: Dashboard, settings: Settings, database: str = "spend") -> "Page":
        client = connect(settings)
        client.database = database
        return cls(dashboard.json(), client, settings.timezone)

    def ask(self, panel: str, span: TimeRange, points: int = 100, **chosen: str) -> Found:
        """The rows that a panel shows, by column."""
        variables = {"tz": self.time_zone, **chosen}
        return self._rows(resolve(self.dashboard, stable_id(panel), "A", span, variables, max_data_points=points))

    def options(self, variable: str, span: TimeRange, **chosen: str) -> list[str]:
        """What can be chosen of a variable."""
        sql = resolve_variable(self.dashboard, variable, span, {"tz": self.time_zone, **chosen})
        assert sql is not None
        return [next(iter(row.values())) for row in self._rows(sql)]

    def marks(self, span: TimeRange, **chosen: str) -> Found:
        """The annotations of the page."""
        [annotation] = self.dashboard["annotations"]["list"]
        sql = resolve_annotation(self.dashboard, annotation["name"], span, {"tz": self.time_zone, **chosen})
        return self._rows(sql)

    def every_panel(self, span: TimeRange, points: int = 100, **chosen: str) -> dict[str, Found]:
        """What each panel shows, by its title."""
        variables = {"tz": self.time_zone, **chosen}
        return {
            panel["title"]: self._rows(
                resolve(self.dashboard, panel["id"], "A", span, variables, max_data_points=points)
            )
            for panel in self.dashboard["panels"]
            if panel.get("targets")
        }

    def query(self, sql: str, span: TimeRange) -> Found:
        """The rows of a query that is in no panel, such as an alert rule's."""
        return self._rows(expand(sql, {}, span, 60_000))

    def _rows(self, sql: str) -> Found:
        found = self.client.query(sql)
        return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]
