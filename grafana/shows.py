"""The ways a panel shows what its query finds, each one of Grafana's kinds of panels. Pure.

`options` is what Grafana calls the panel's options, `custom` what stands in fieldConfig.defaults.custom; `over_time`
says that the query gives a time series rather than a table.
"""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Stat:
    """Big figures: every numeric column of the one row, or with `sparkline` the `calc` of a series over it."""

    sparkline: bool = False
    calc: str = "lastNotNull"
    side_by_side: bool = False
    coloured: bool = False  # by the steps of the panel or of its fields

    kind = "stat"

    @property
    def over_time(self) -> bool:
        return self.sparkline

    def options(self) -> Json:
        return {
            "colorMode": "value" if self.coloured else "none",
            "graphMode": "area" if self.sparkline else "none",
            "justifyMode": "auto",
            "orientation": "vertical" if self.side_by_side else "horizontal",
            "reduceOptions": {"calcs": [self.calc], "fields": "" if self.sparkline else "/.*/", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        }

    def custom(self) -> Json:
        return {}


@dataclass(frozen=True)
class Series:
    """Lines over time, or stacked bars."""

    bars: bool = False
    stacked: bool = False
    fill: int = 10
    legend: bool = True

    kind = "timeseries"
    over_time = True

    def options(self) -> Json:
        return {
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": self.legend},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def custom(self) -> Json:
        return {
            "drawStyle": "bars" if self.bars else "line",
            "fillOpacity": 80 if self.bars else self.fill,
            "lineWidth": 1,
            "showPoints": "never" if self.bars else "auto",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if self.stacked else "none"},
            "axisSoftMin": 0,
        }


@dataclass(frozen=True)
class Bars:
    """A bar a row: the column `category` names it, the other numeric columns are its bars. Horizontal for members."""

    category: str
    horizontal: bool = True
    stacked: bool = False
    legend: bool = False

    kind = "barchart"
    over_time = False

    def options(self) -> Json:
        return {
            "barWidth": 0.85,
            "groupWidth": 0.8,
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": self.legend},
            "orientation": "horizontal" if self.horizontal else "vertical",
            "showValue": "auto",
            "stacking": "normal" if self.stacked else "none",
            "tooltip": {"mode": "multi", "sort": "none"},
            "xField": self.category,
            "xTickLabelMaxLength": 32,
        }

    def custom(self) -> Json:
        return {"fillOpacity": 80, "lineWidth": 0}


@dataclass(frozen=True)
class Gauges:
    """A bar gauge a row: first the name, then the value."""

    kind = "bargauge"
    over_time = False

    def options(self) -> Json:
        return {
            "displayMode": "basic",
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "limit": 50, "values": True},
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "color",
        }

    def custom(self) -> Json:
        return {}


@dataclass(frozen=True)
class Table:
    """Rows as the query orders them."""

    kind = "table"
    over_time = False

    def options(self) -> Json:
        return {"cellHeight": "sm", "showHeader": True}

    def custom(self) -> Json:
        return {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False}


@dataclass(frozen=True)
class Pie:
    """Shares of a whole: a slice a row, first the name, then the value."""

    kind = "piechart"
    over_time = False

    def options(self) -> Json:
        return {
            "displayLabels": ["percent"],
            "legend": {
                "calcs": [],
                "displayMode": "table",
                "placement": "right",
                "showLegend": True,
                "values": ["value", "percent"],
            },
            "pieType": "donut",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "limit": 50, "values": True},
            "tooltip": {"mode": "single", "sort": "none"},
        }

    def custom(self) -> Json:
        return {}


@dataclass(frozen=True)
class Text:
    """Words, in Markdown; variables are filled in."""

    markdown: str

    kind = "text"
    over_time = False

    def options(self) -> Json:
        return {"code": {"language": "plaintext"}, "content": self.markdown, "mode": "markdown"}

    def custom(self) -> Json:
        return {}
