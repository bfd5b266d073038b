"""What Grafana's ClickHouse plugin (4.20) does to a query before ClickHouse sees it, in its order (pure).

First what the browser does: `$__conditionalAll`, the variables, `$__adHocFilters`. Then what the plugin's back end
does: `$__timeFilter` and the like. A value that a person chose is never looked into (`grafana.interpolation`).

Sources: applyTemplateVariables, applyConditionalAll and applyAdHocFiltersMacro of src/data/CHDatasource.ts,
pkg/macros/macros.go in grafana/clickhouse-datasource, and the parser of grafana/macropro.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from grafana.interpolation import Held, QueryError, Variable, interpolate, without_comments

_CONDITIONAL_ALL = "$__conditionalAll("
_NAMED = re.compile(r"(?<=\$\{)\w+(?=\})|(?<=\$)\w+", re.ASCII)
_AD_HOC = re.compile(r"\$__adHocFilters\s*\([^)]*\)")
_MACRO = re.compile(r"\$__(\w+)", re.ASCII)
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[(),]""", re.DOTALL)
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": Fraction(3600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000)}


@dataclass(frozen=True)
class TimeRange:
    """From and to, both included, in milliseconds since 1970 UTC."""

    start: int
    end: int


def expand(sql: str, variables: Mapping[str, Variable], time_range: TimeRange, interval_ms: int) -> str:
    """The query as ClickHouse gets it.

    Args:
        sql: a target's or a variable's `rawSql`.
        variables: the dashboard's and Grafana's own, by name.
        time_range: what the time picker says.
        interval_ms: milliseconds of a step, see `grafana.panel_query.interval`.

    Raises:
        QueryError: names the macro or the variable that is unknown or used wrongly.
    """
    held = Held()
    text = conditional_all(without_comments(sql), variables)
    text = interpolate(text, variables, held)
    text = _AD_HOC.sub("additional_table_filters={}", text)  # no dashboard has a variable of ad hoc filters
    return held.restore(back_end(text, time_range, interval_ms))


def conditional_all(sql: str, variables: Mapping[str, Variable]) -> str:
    """`$__conditionalAll(condition, $name)`: the condition, or `1=1` when All of `name` is chosen."""
    while (at := sql.rfind(_CONDITIONAL_ALL)) != -1:  # the last first: one may be in another
        begin = at + len(_CONDITIONAL_ALL)
        end, commas = _plain_arguments(sql, begin)
        named = _NAMED.search(sql, commas[0], end) if len(commas) == 1 else None
        if named is None:
            raise QueryError("$__conditionalAll needs two arguments: a condition and a variable, as $name")
        if named[0] not in variables:
            raise QueryError(f"$__conditionalAll: unknown variable ${named[0]}")
        phrase = "1=1" if variables[named[0]].is_all else sql[begin : commas[0]]
        sql = sql[:at] + phrase + sql[end + 1 :]
    return sql


def back_end(sql: str, time_range: TimeRange, interval_ms: int) -> str:
    """Expand the macros of the plugin's back end; those in another's arguments, too."""
    pieces: list[str] = []
    at = 0
    while found := _MACRO.search(sql, at):
        name = found[1]
        if name not in _MACROS:
            raise QueryError(f"unknown macro $__{name}: there are {', '.join(sorted(_MACROS))}")
        pieces.append(sql[at : found.start()])
        at = found.end()
        arguments: list[str] = []
        if sql.startswith("(", at):
            arguments, at = _arguments(sql, at, name)
        count, made = _MACROS[name]
        if len(arguments) != count:
            raise QueryError(f"macro $__{name} needs {count} arguments, not {len(arguments)}")
        pieces.append(made(time_range, interval_ms, *(back_end(each, time_range, interval_ms) for each in arguments)))
    return "".join((*pieces, sql[at:]))


def _plain_arguments(sql: str, begin: int) -> tuple[int, list[int]]:
    """Where the call that opened before `begin` ends, and its commas; the plugin does not look for quotes here."""
    depth = 1
    commas: list[int] = []
    for found in re.finditer(r"[(),]", sql[begin:]):
        at = begin + found.start()
        depth += (found[0] == "(") - (found[0] == ")")
        if depth == 0:
            return at, commas
        if found[0] == "," and depth == 1:
            commas.append(at)
    raise QueryError("$__conditionalAll: its parenthesis is not closed")


def _arguments(sql: str, opening: int, name: str) -> tuple[list[str], int]:
    """The arguments of the call that opens at `opening`, and the place behind it."""
    depth, begin = 0, opening + 1
    arguments: list[str] = []
    for found in _QUOTED.finditer(sql, opening):
        depth += (found[0] == "(") - (found[0] == ")")
        if depth == 0 or (found[0] == "," and depth == 1):
            arguments.append(sql[begin : found.start()].strip())
            begin = found.end()
        if depth == 0:
            return ([] if arguments == [""] else arguments), begin
    raise QueryError(f"macro $__{name}: its parenthesis is not closed")


def _date(milliseconds: int) -> str:
    return f"toDate('{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d}')"


def _seconds(milliseconds: int) -> str:
    return f"toDateTime({milliseconds // 1000})"


def _milliseconds(milliseconds: int) -> str:
    return f"fromUnixTimestamp64Milli({milliseconds})"


def _between(column: str, kind: Callable[[int], str], time_range: TimeRange) -> str:
    return f"{column} >= {kind(time_range.start)} AND {column} <= {kind(time_range.end)}"


def _date_time_filter(time_range: TimeRange, _interval_ms: int, date: str, time: str) -> str:
    return f"({_between(date, _date, time_range)}) AND ({_between(time, _seconds, time_range)})"


def _time_group(_time_range: TimeRange, _interval_ms: int, column: str, period: str) -> str:
    plain = period.strip("'\"")
    parts = list(_durations(plain))
    seconds = int(sum(parts) + Fraction(1, 2))
    if not parts or seconds <= 0:
        raise QueryError(f"macro $__timeGroup: {plain!r} is no period such as 5m or 1h")
    return f"toStartOfInterval(toDateTime({column}), INTERVAL {seconds} second)"


def _durations(text: str) -> Iterator[Fraction]:
    """The parts of a duration as Go reads it (`1h30m`), in seconds; nothing when it is none."""
    if re.fullmatch(rf"(?:{_GO_DURATION.pattern})+", text):
        for number, unit in _GO_DURATION.findall(text):
            yield Fraction(number) * _SECONDS[unit]


def _step(column: str, interval_ms: int) -> str:
    return f"toStartOfInterval(toDateTime({column}), INTERVAL {max(interval_ms // 1000, 1)} second)"


def _step_ms(column: str, interval_ms: int) -> str:
    return f"toStartOfInterval(toDateTime64({column}, 3), INTERVAL {max(interval_ms, 1)} millisecond)"


# Name -> how many arguments, and what is made of (range, interval in ms, *arguments).
_MACROS: dict[str, tuple[int, Callable[..., str]]] = {
    "fromTime": (0, lambda span, _: _seconds(span.start)),
    "toTime": (0, lambda span, _: _seconds(span.end)),
    "fromTime_ms": (0, lambda span, _: _milliseconds(span.start)),
    "toTime_ms": (0, lambda span, _: _milliseconds(span.end)),
    "timeFrom": (1, lambda span, _, column: f"{column} >= {_seconds(span.start)}"),
    "timeTo": (1, lambda span, _, column: f"{column} <= {_seconds(span.end)}"),
    "timeFilter": (1, lambda span, _, column: _between(column, _seconds, span)),
    "timeFilter_ms": (1, lambda span, _, column: _between(column, _milliseconds, span)),
    "dateFilter": (1, lambda span, _, column: _between(column, _date, span)),
    "dateTimeFilter": (2, _date_time_filter),
    "dt": (2, _date_time_filter),
    "timeGroup": (2, _time_group),
    "timeInterval": (1, lambda _, step, column: _step(column, step)),
    "timeInterval_ms": (1, lambda _, step, column: _step_ms(column, step)),
    "interval_s": (0, lambda _, step: str(max(step // 1000, 1))),
}
