"""Builders of panels: what a panel says and shows, as the JSON that Grafana 13 reads (classic model, schema 42).

A `Panel` has a name, which is also its query's file (`queries/<name>.sql`) and what its id is made from, words for
people, and one of the ways of grafana/shows.py to show what is found. `place` puts panels on the grid. Pure, but for
reading the query.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from zlib import crc32

from grafana.shows import Bars, Gauges, Json, Pie, Series, Stat, Table, Text

Steps = tuple[tuple[float | None, str], ...]  # colour from a value on; the first value is None: from anywhere

QUERIES = Path(__file__).parent / "queries"
SOURCE: Json = {"type": "grafana-clickhouse-datasource", "uid": "spendstream-clickhouse"}
PLUGIN = "4.20.0"
COLUMNS = 24  # of Grafana's grid

RISING_IS_BAD: Steps = ((None, "green"), (0, "text"), (0.05, "red"))
BUDGET: Steps = ((None, "green"), (80, "yellow"), (100, "red"))


@dataclass(frozen=True)
class Link:
    """A link of a value to another page. `url` is in Grafana's form: `/d/spend-member/?var-member=${__value.raw}`."""

    title: str
    url: str

    def json(self) -> Json:
        return {"title": self.title, "url": self.url, "targetBlank": False}


@dataclass(frozen=True)
class Field:
    """How one column or series is shown, where it differs from the panel. `name` is the query's.

    `bar`: a cell bar from 0 to `maximum` (None: the greatest value of the column). `steps` colour the text, or the bar.
    """

    name: str
    unit: str | None = None
    decimals: int | None = None
    title: str | None = None
    no_data: str | None = None
    links: tuple[Link, ...] = ()
    steps: Steps | None = None
    colour: str | None = None
    bar: bool = False
    maximum: float | None = None
    width: int | None = None
    hidden: bool = False
    custom: Json = field(default_factory=dict)  # what only this kind of panel knows, as in fieldConfig.custom

    def json(self, *, in_table: bool) -> Json:
        """The override: a matcher by name and its properties. Only a table has cells to draw in."""
        properties: Json = {}
        for key, value in (
            ("unit", self.unit),
            ("decimals", self.decimals),
            ("displayName", self.title),
            ("noValue", self.no_data),
            ("max", self.maximum),
            ("custom.width", self.width),
        ):
            if value is not None:
                properties[key] = value
        if self.links:
            properties["links"] = [link.json() for link in self.links]
        if self.colour:
            properties["color"] = {"mode": "fixed", "fixedColor": self.colour}
        if self.steps:
            properties["thresholds"] = _thresholds(self.steps)
            properties["color"] = {"mode": "thresholds"}
        if self.bar:
            properties["min"] = 0
            properties["custom.cellOptions"] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        elif self.steps and in_table:
            properties["custom.cellOptions"] = {"type": "color-text"}
        if self.hidden:
            properties["custom.hideFrom"] = {"legend": True, "tooltip": True, "viz": True}
        properties |= {f"custom.{key}": value for key, value in self.custom.items()}
        return {
            "matcher": {"id": "byName", "options": self.name},
            "properties": [{"id": key, "value": properties[key]} for key in sorted(properties)],
        }


@dataclass(frozen=True)
class Panel:
    """A panel without a place.

    `name` is `<dashboard>_<panel>`. `description` says what the figure is and how it comes about, `no_data` what an
    empty answer means, `unit` is one of Grafana's. `width` and `height` are in units of the grid. `interval` is the
    least step of `$__timeInterval`, such as `15m`, which is what the rollups have. `series_name` is the text column
    that names the series of a long answer.
    """

    name: str
    title: str
    description: str
    no_data: str
    shows: Stat | Series | Bars | Gauges | Table | Pie | Text
    unit: str = "short"
    decimals: int | None = None
    width: int = 12
    height: int = 8
    fields: tuple[Field, ...] = ()
    links: tuple[Link, ...] = ()
    steps: Steps | None = None
    minimum: float | None = None
    maximum: float | None = None
    interval: str | None = None
    series_name: str | None = None

    @property
    def query(self) -> str:
        """The SQL of the panel's file, with its macros and variables."""
        return read_query(self.name)

    def json(self, place: Json) -> Json:
        """The panel at a place of the grid.

        Raises:
            FileNotFoundError: there is no query of that name.
        """
        panel: Json = {
            "id": stable_id(self.name),
            "type": self.shows.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": place,
            "options": self.shows.options(),
            "transparent": False,
        }
        if isinstance(self.shows, Text):
            return panel
        defaults: Json = {
            "color": {"mode": "thresholds" if self.steps else "palette-classic"},
            "custom": self.shows.custom(),
            "links": [link.json() for link in self.links],
            "mappings": [],
            "noValue": self.no_data,
            "unit": self.unit,
        }
        for key, value in (("decimals", self.decimals), ("min", self.minimum), ("max", self.maximum)):
            if value is not None:
                defaults[key] = value
        if self.series_name:
            defaults["displayName"] = f"${{__field.labels.{self.series_name}}}"
        if self.steps:
            defaults["thresholds"] = _thresholds(self.steps)
        panel |= {
            "datasource": SOURCE,
            "fieldConfig": {"defaults": defaults, "overrides": self._overrides()},
            "targets": [target(self.query, over_time=self.shows.over_time)],
        }
        if self.interval:
            panel["interval"] = self.interval
        return panel

    def _overrides(self) -> list[Json]:
        return [each.json(in_table=isinstance(self.shows, Table)) for each in self.fields]


@dataclass(frozen=True)
class Row:
    """A heading over the panels that follow."""

    title: str

    def json(self, place: Json) -> Json:
        return {
            "id": stable_id(f"row {self.title}"),
            "type": "row",
            "title": self.title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }


def read_query(name: str) -> str:
    """The SQL of `queries/<name>.sql`; a line `-- include <part>` stands for `queries/parts/<part>.sql`.

    Raises:
        FileNotFoundError: there is no query of that name, or no such part.
    """

    def part(line: re.Match[str]) -> str:
        return indent(read_query(f"parts/{line[2]}"), line[1])

    text = (QUERIES / f"{name}.sql").read_text(encoding="utf-8").rstrip("\n")
    return re.sub(r"^( *)-- include (\w+)$", part, text, flags=re.MULTILINE)


def target(sql: str, *, over_time: bool, ref: str = "A") -> Json:
    """A query of the ClickHouse plugin; format 0 is a time series, 1 a table."""
    return {
        "datasource": SOURCE,
        "editorType": "sql",
        "format": 0 if over_time else 1,
        "pluginVersion": PLUGIN,
        "queryType": "timeseries" if over_time else "table",
        "rawSql": sql,
        "refId": ref,
    }


def place(parts: Iterable[Panel | Row]) -> list[Json]:
    """Panels from left to right, a new line where one does not fit, a heading on a line of its own.

    Raises:
        ValueError: a panel is wider than the grid, or its line has another height.
    """
    placed: list[Json] = []
    x = y = height = 0
    for part in parts:
        wide, high = (COLUMNS, 1) if isinstance(part, Row) else (part.width, part.height)
        if wide > COLUMNS:
            raise ValueError(f"{part.title}: wider than the grid")
        if x + wide > COLUMNS:
            x, y, height = 0, y + height, 0
        if height not in (0, high):
            raise ValueError(f"{part.title}: the others on its line are {height} high")
        placed.append(part.json({"x": x, "y": y, "w": wide, "h": high}))
        x, height = x + wide, high
    return placed


def stable_id(name: str) -> int:
    """An id that stays when other panels come and go, for the addresses of single panels."""
    return crc32(name.encode()) % 1_000_000 + 1


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> Json:
    return {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in steps]}
