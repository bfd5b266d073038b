"""Builders of dashboard variables and time ranges, as the JSON that Grafana 13 reads. Pure, but for reading queries.

A value may come from the address and be anything, and `${name:singlequote}` lets a backslash through, which begins an
escape in ClickHouse: a chosen value is taken as `decodeURLComponent('${name:percentencode}')`, and filters as
`queries/parts/filters.sql` has them.
"""

from grafana.panels import SOURCE, read_query
from grafana.shows import Json

UNATTRIBUTED = "(unattributed)"  # what stands for a member that is absent, '' in the rollups

# F2: what a person picks from. Grafana and the preview count weeks, months and days in the organisation's time zone.
RANGES: tuple[tuple[str, str, str], ...] = (
    ("Today", "now/d", "now"),
    ("Last 24 hours", "now-24h", "now"),
    ("Last 7 days", "now-7d", "now"),
    ("Last 14 days", "now-14d", "now"),
    ("Last 30 days", "now-30d", "now"),
    ("Week to date", "now/w", "now"),
    ("Month to date", "now/M", "now"),
    ("Quarter to date", "now/Q", "now"),
    ("Year to date", "now/y", "now"),
    ("Last week", "now-1w/w", "now-1w/w"),
    ("Last month", "now-1M/M", "now-1M/M"),
    ("Last year", "now-1y/y", "now-1y/y"),
)


def timezone() -> Json:
    """`tz`, hidden: the organisation's time zone, which decides days and months. No address can set it."""
    sql = "SELECT timezone FROM organisation"
    return _asked("tz", "Time zone", sql, hide=2, refresh=1) | {"skipUrlSync": True}


def choice(name: str, label: str, options: tuple[tuple[str, str], ...], default: str) -> Json:
    """One of some values that are known: (text, value) each.

    Raises:
        KeyError: the default is none of the values.
    """
    text = {value: text for text, value in options}[default]
    return {
        "current": {"selected": True, "text": text, "value": default},
        "hide": 0,
        "includeAll": False,
        "label": label,
        "multi": False,
        "name": name,
        "options": [{"selected": value == default, "text": text, "value": value} for text, value in options],
        "query": ", ".join(f"{text} : {value}" for text, value in options),
        "skipUrlSync": False,
        "type": "custom",
    }


def asked(name: str, label: str, query: str) -> Json:
    """One of the values that `queries/<query>.sql` finds within the range: a column of values, or values and texts."""
    nothing = {"selected": True, "text": "", "value": ""}  # where the query finds none
    return _asked(name, label, read_query(query), hide=0, refresh=2) | {"current": nothing}


def filters() -> tuple[Json, ...]:
    """What `queries/parts/filters.sql` asks for."""
    return (
        filter_by("provider", "Provider"),
        filter_by("model", "Model"),
        filter_by("gateway", "Gateway"),
        filter_by("team", "Team"),
    )


def filter_by(column: str, label: str) -> Json:
    """Some or all of the members that a dimension of usage_15m has within the range; at first all."""
    member = f"ifNull(nullIf({column}, ''), '{UNATTRIBUTED}')"
    sql = f"SELECT DISTINCT {member} AS member FROM usage_15m WHERE $__timeFilter(time) ORDER BY member LIMIT 1000"
    return _asked(column, label, sql, hide=0, refresh=2) | {
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "multi": True,
    }


def time_picker() -> Json:
    """The ranges that can be picked with one click."""
    return {"quick_ranges": [{"display": text, "from": start, "to": end} for text, start, end in RANGES]}


def _asked(name: str, label: str, sql: str, *, hide: int, refresh: int) -> Json:
    """A query variable. `refresh`: 1 as the page opens, 2 also when the range changes; `hide` 2: not shown."""
    return {
        "datasource": SOURCE,
        "definition": sql,
        "hide": hide,
        "includeAll": False,
        "label": label,
        "multi": False,
        "name": name,
        "options": [],
        "query": sql,
        "refresh": refresh,
        "regex": "",
        "skipUrlSync": False,
        "sort": 0,
        "type": "query",
    }
