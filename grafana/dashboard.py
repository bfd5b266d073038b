"""A whole dashboard: its panels, variables, annotations and links, as the JSON that Grafana 13 reads. Pure."""

from dataclasses import dataclass

from grafana.panels import SOURCE, Panel, Row, place, target
from grafana.shows import Json
from grafana.variables import time_picker, timezone

SCHEMA = 42  # Grafana's last version of the classic model
TAG = "spendstream"


@dataclass(frozen=True)
class Annotation:
    """Marks on every time series: the query gives `time` (or `time` and `timeEnd`), `title`, `text` and `tags`."""

    name: str
    sql: str
    colour: str

    def json(self) -> Json:
        return {
            "datasource": SOURCE,
            "enable": True,
            "hide": False,
            "iconColor": self.colour,
            "name": self.name,
            "target": target(self.sql, over_time=False, ref="Anno"),
        }


@dataclass(frozen=True)
class Dashboard:
    """A page. `variables` come after the time zone, which each page has; `refresh` is as Grafana writes it."""

    uid: str
    title: str
    description: str
    parts: tuple[Panel | Row, ...]
    variables: tuple[Json, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    start: str = "now-30d"
    refresh: str = "1m"

    def json(self) -> Json:
        """The dashboard, without anything that differs between two builds or two Grafanas.

        The time zone is '', Grafana's default one: `[date_formats] default_timezone`, or the organisation's preference.
        """
        return {
            "annotations": {"list": [each.json() for each in self.annotations]},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [_siblings()],
            "liveNow": False,
            "panels": place(self.parts),
            "preload": False,
            "refresh": self.refresh,
            "schemaVersion": SCHEMA,
            "tags": [TAG],
            "templating": {"list": [timezone(), *self.variables]},
            "time": {"from": self.start, "to": "now"},
            "timepicker": time_picker(),
            "timezone": "",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "monday",
        }


def _siblings() -> Json:
    """A menu of all our pages; range and variables go along."""
    return {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": [TAG],
        "targetBlank": False,
        "title": "AI spend",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }
