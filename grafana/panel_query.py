"""From a dashboard's JSON, a panel and what a person chose to the SQL that Grafana would send (pure).

Sources: calculateInterval, roundInterval and secondsToHms of @grafana/data's rangeutil.ts; the global variables of
Grafana's documentation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grafana.interpolation import ALL, QueryError, Variable
from grafana.macros import TimeRange, expand

Chosen = Mapping[str, str | Sequence[str]]  # a variable's name -> its value, or its values; `$__all` is All

# A step below the left figure becomes the right one; milliseconds.
_STEPS = (
    (10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500), (1_500, 1_000), (3_500, 2_000),
    (7_500, 5_000), (12_500, 10_000), (17_500, 15_000), (25_000, 20_000), (45_000, 30_000), (90_000, 60_000),
    (210_000, 120_000), (450_000, 300_000), (750_000, 600_000), (1_050_000, 900_000), (1_500_000, 1_200_000),
    (2_700_000, 1_800_000), (5_400_000, 3_600_000), (9_000_000, 7_200_000), (16_200_000, 10_800_000),
    (32_400_000, 21_600_000), (86_400_000, 43_200_000), (604_800_000, 86_400_000), (1_814_400_000, 604_800_000),
    (3_628_800_000, 2_592_000_000),
)  # fmt: skip
_YEAR_MS = 31_536_000_000
_UNITS_MS = {
    "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "M": 2_592_000_000,
    "y": _YEAR_MS,
}  # fmt: skip
_NO_STEP = 1_000  # what is drawn over no time has no steps; a second, if a query asks all the same
_OPTION = re.compile(r"(?:\\,|[^,])+")


def resolve(
    dashboard: dict[str, Any],
    panel_id: int,
    ref_id: str,
    time_range: TimeRange,
    chosen: Chosen,
    *,
    max_data_points: int,
) -> str:
    """The SQL of a panel's target.

    Args:
        dashboard: Grafana's dashboard JSON (classic).
        panel_id: the panel's id, also one inside a row.
        ref_id: the target's letter.
        time_range: what the time picker says.
        chosen: what was chosen of the variables; those left out have the value that the dashboard was saved with.
        max_data_points: the panel's width in points, unless the panel itself says how many.

    Raises:
        QueryError: there is no such panel or target, or its query cannot be sent; the message says which.
    """
    panel = find_panel(dashboard, panel_id)
    sql = next((str(each.get("rawSql", "")) for each in panel.get("targets", []) if each.get("refId") == ref_id), "")
    if not sql:
        raise QueryError(f"panel {panel_id} ({panel.get('title', '')}) has no query {ref_id!r}")
    step = interval(time_range, int(panel.get("maxDataPoints") or max_data_points), str(panel.get("interval") or ""))
    try:
        return expand(sql, _variables(dashboard, chosen, time_range, step), time_range, step)
    except QueryError as error:
        raise QueryError(f"panel {panel_id} ({panel.get('title', '')}), query {ref_id}: {error}") from error


def resolve_variable(dashboard: dict[str, Any], name: str, time_range: TimeRange, chosen: Chosen) -> str | None:
    """The SQL that lists a variable's options; None when the dashboard lists them itself (see `listed_options`).

    Raises:
        QueryError: there is no such variable, or its query cannot be sent.
    """
    definition = find_variable(dashboard, name)
    if definition["type"] != "query":
        return None
    query = definition.get("query", "")
    sql = str(query.get("rawSql", "")) if isinstance(query, dict) else str(query)
    try:
        return expand(sql, _variables(dashboard, chosen, time_range, _NO_STEP, but=name), time_range, _NO_STEP)
    except QueryError as error:
        raise QueryError(f"variable {name}: {error}") from error


def resolve_annotation(dashboard: dict[str, Any], name: str, time_range: TimeRange, chosen: Chosen) -> str:
    """The SQL of an annotation.

    Raises:
        QueryError: there is no such annotation, or its query cannot be sent.
    """
    for each in dashboard.get("annotations", {}).get("list", []):
        if each.get("name") == name and (sql := each.get("target", {}).get("rawSql")):
            try:
                return expand(sql, _variables(dashboard, chosen, time_range, _NO_STEP), time_range, _NO_STEP)
            except QueryError as error:
                raise QueryError(f"annotation {name}: {error}") from error
    raise QueryError(f"dashboard {dashboard.get('uid')!r} has no annotation {name!r} with a query")


def find_panel(dashboard: dict[str, Any], panel_id: int) -> dict[str, Any]:
    """A panel by its id, also one inside a row.

    Raises:
        QueryError: there is none.
    """
    for panel in _panels(dashboard.get("panels", [])):
        if panel.get("id") == panel_id:
            return panel
    raise QueryError(f"dashboard {dashboard.get('uid')!r} has no panel {panel_id}")


def find_variable(dashboard: dict[str, Any], name: str) -> dict[str, Any]:
    """A variable's definition by its name.

    Raises:
        QueryError: there is none.
    """
    for definition in _definitions(dashboard):
        if definition.get("name") == name:
            return definition
    raise QueryError(f"dashboard {dashboard.get('uid')!r} has no variable {name!r}")


def listed_options(definition: dict[str, Any]) -> list[tuple[str, str]]:
    """The options that a custom variable lists (`value` or `text : value`, comma separated), as (text, value)."""
    options = []
    for part in _OPTION.findall(str(definition.get("query", ""))):
        text, separator, value = part.replace("\\,", ",").partition(" : ")
        options.append((text.strip(), value.strip() if separator else text.strip()))
    return options


def interval(time_range: TimeRange, points: int, lowest: str = "") -> int:
    """Milliseconds of a step, as Grafana chooses them: the range by the points, rounded; never below `lowest`.

    `lowest` is a panel's least interval, such as `15m`.

    Raises:
        QueryError: `lowest` is no interval.
    """
    limit = 1
    if lowest:
        found = re.fullmatch(r">?(\d+)(ms|[smhdwMy])", lowest)
        if not found:
            raise QueryError(f"{lowest!r} is no interval such as 15m")
        limit = int(found[1]) * _UNITS_MS[found[2]]
    length = time_range.end - time_range.start
    rounded = next((step for below, step in _STEPS if length < below * points), _YEAR_MS)
    return max(rounded, limit)


def _panels(panels: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from panel.get("panels", [])


def _definitions(dashboard: dict[str, Any]) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = dashboard.get("templating", {}).get("list", [])
    return found


def _variables(
    dashboard: dict[str, Any], chosen: Chosen, time_range: TimeRange, step: int, but: str = ""
) -> dict[str, Variable]:
    """All variables that a query may name, except `but`."""
    own = {}
    for definition in _definitions(dashboard):
        if (name := str(definition["name"])) != but and (values := _values(definition, chosen)) is not None:
            options = (
                tuple(value for _, value in listed_options(definition)) if definition["type"] == "custom" else None
            )
            own[name] = Variable(name, values, bool(definition.get("multi")), options)
    return own | {name: Variable(name, (value,), built_in=True) for name, value in _built_in(time_range, step).items()}


def _values(definition: dict[str, Any], chosen: Chosen) -> tuple[str, ...] | None:
    """What was chosen, else what the dashboard was saved with; None when there is neither."""
    name, kind = definition["name"], definition["type"]
    if kind == "constant":
        return (str(definition.get("query", "")),)
    if kind not in ("query", "custom", "textbox"):
        raise QueryError(f"variable {name}: its type {kind!r} is not known here")
    value = chosen.get(name, definition.get("current", {}).get("value"))
    if value is None:
        return None
    values = (value,) if isinstance(value, str) else tuple(value)
    if len(values) > 1 and not definition.get("multi"):
        raise QueryError(f"variable {name} takes one value, not {len(values)}")
    return (ALL,) if ALL in values else values


def _built_in(time_range: TimeRange, step: int) -> dict[str, str]:
    length = time_range.end - time_range.start
    seconds = round(length / 1000)
    return {
        "__from": str(time_range.start),
        "__to": str(time_range.end),
        "__interval": _as_text(step),
        "__interval_ms": str(step),
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__range_ms": str(length),
    }


def _as_text(milliseconds: int) -> str:
    for unit in ("y", "d", "h", "m", "s"):
        if milliseconds >= _UNITS_MS[unit]:
            return f"{milliseconds // _UNITS_MS[unit]}{unit}"
    return f"{milliseconds}ms"
