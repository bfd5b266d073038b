"""Grafana's template variables in a query: `$name`, `${name}`, `${name:format}`, `[[name]]` (pure).

The text that comes out is Grafana's, with one difference: a value is never read as SQL. Grafana's formats leave a
backslash as it is, which begins an escape in a string of ClickHouse, and put a lone value into the query bare. Here a
value between quotes is escaped for them, a bare one must be a number or one of the options that the dashboard lists,
and no macro or variable inside a value is expanded.

Sources: VARIABLE_REGEX and formatRegistry.ts of grafana/scenes; Datasource.format of grafana/clickhouse-datasource.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from streams.errors import SpendError

ALL = "$__all"

_VARIABLE = r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(\.[^:}]+)?(?::([^}]+))?\}"
_PIECE = re.compile(rf"{_VARIABLE}|\\.|['\"`]", re.ASCII | re.DOTALL)
_COMMENT = re.compile(
    r"""(?P<kept>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)|--[^\n]*|\#[!\ ][^\n]*|/\*.*?(?:\*/|\Z)""",
    re.DOTALL | re.VERBOSE,
)
_HELD = re.compile("\0(\\d+)\0")
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class QueryError(SpendError):
    """A query of a dashboard that cannot be sent: the message names the variable or macro, and what mends it."""


@dataclass(frozen=True)
class Variable:
    """A variable and what was chosen of it; `values` is (ALL,) for All.

    `options` are the values that the dashboard's author listed: None when a query lists them. `built_in` marks
    Grafana's own ones, whose values this program made.
    """

    name: str
    values: tuple[str, ...]
    multi: bool = False
    options: tuple[str, ...] | None = None
    built_in: bool = False

    @property
    def is_all(self) -> bool:
        """What `$__conditionalAll` takes for All: also a lone empty value, as in the plugin."""
        return ",".join(self.values) in ("", ALL)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The values to put into a query; of All, every option.

        Raises:
            QueryError: All of a variable whose options a query lists.
        """
        if self.values != (ALL,):
            return self.values
        if self.options is None:
            raise QueryError(
                f"variable {self.name}: All stands for whatever its query lists: "
                f"write $__conditionalAll(... ${{{self.name}:singlequote}} ..., ${self.name})"
            )
        return self.options


@dataclass
class Held:
    """Texts that macros must not look into: a marker stands for each until `restore`."""

    texts: list[str] = field(default_factory=list)

    def hold(self, text: str) -> str:
        """The marker that stands for `text`."""
        self.texts.append(text)
        return f"\0{len(self.texts) - 1}\0"

    def restore(self, sql: str) -> str:
        """`sql` with each marker replaced by its text."""
        return _HELD.sub(lambda marker: self.texts[int(marker[1])], sql)


def without_comments(sql: str) -> str:
    """`sql` with a space for each comment: nothing in them is expanded, and no value can end one."""
    return _COMMENT.sub(lambda found: found["kept"] or " ", sql)


def interpolate(sql: str, variables: Mapping[str, Variable], held: Held) -> str:
    """Put the variables' values into `sql`, which has no comments; values of people are held back from macros.

    `$__name` that is no variable stays: it is a macro of the plugin.

    Raises:
        QueryError: an unknown variable or format, or a value where it would be read as SQL.
    """
    if "\0" in sql:
        raise QueryError("a query must not hold a NUL character")
    pieces: list[str] = []
    between = ""  # the kind of quotes that the text at hand stands between
    at = 0
    for found in _PIECE.finditer(sql):
        token = found.group()
        pieces.append(sql[at : found.start()])
        at = found.end()
        name = found[1] or found[2] or found[4]
        if name:
            pieces.append(_replaced(found, name, variables, between, held))
            continue
        if token in ("'", '"', "`") and between in ("", token):
            between = "" if between else token
        pieces.append(token)
    return "".join((*pieces, sql[at:]))


def formatted(variable: Variable, how: str) -> str:
    """The value in one of Grafana's formats (its own name, `csv` and so on; `""` is the plugin's default).

    Raises:
        QueryError: a format that Grafana does not have, or that has no place in a query.
    """
    values = variable.chosen
    kind, _, detail = how.partition(":")
    match kind:
        case "singlequote":
            return ",".join(f"'{_backslashed(value)}'" for value in values)
        case "sqlstring":
            doubled = (value.replace("\\", "\\\\").replace("'", "''").replace('"', '\\"') for value in values)
            return ",".join(f"'{value}'" for value in doubled)
        case "csv":
            return ",".join(values)
        case "percentencode":
            return _encoded(f"{{{','.join(values)}}}" if variable.multi else ",".join(values))
        case "queryparam":
            return "&".join(f"var-{variable.name}={_encoded(value)}" for value in variable.values)
        case "date" if variable.built_in and values[0].isdigit():
            return _date(variable.name, int(values[0]), detail)
        case "":
            return ",".join(f"'{_backslashed(value)}'" for value in values) if variable.multi else ",".join(values)
    raise QueryError(
        f"variable {variable.name}: the format {how!r} has no place in a query: "
        "use singlequote or sqlstring, or percentencode between quotes"
    )


def _replaced(found: re.Match[str], name: str, variables: Mapping[str, Variable], between: str, held: Held) -> str:
    how = found[3] or found[6] or ""
    if name not in variables:
        if name.startswith("__") and found[1]:
            return found.group()
        raise QueryError(f"unknown variable {found.group()}: the dashboard has {_names(variables)}")
    if found[5]:
        raise QueryError(f"variable {name}: {found.group()} asks for a field, which its values do not have")
    variable = variables[name]
    text = formatted(variable, how)
    if variable.built_in:
        return text
    quotes_itself = how in ("singlequote", "sqlstring") or (variable.multi and not how)
    if between == "'":
        if quotes_itself:
            raise QueryError(f"variable {name}: {found.group()} brings its own quotes: take those around it away")
        return held.hold(_backslashed(text))
    if between or not quotes_itself:
        _check_bare(variable)
    return held.hold(text)


def _check_bare(variable: Variable) -> None:
    for value in variable.chosen:
        if value not in (variable.options or ()) and not _NUMBER.fullmatch(value):
            raise QueryError(
                f"variable {variable.name}: {value!r} would be read as SQL: write ${{{variable.name}:singlequote}}"
            )


def _backslashed(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _date(name: str, milliseconds: int, detail: str) -> str:
    match detail:
        case "" | "iso":
            moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case "seconds":
            return str(round(milliseconds / 1000))
        case "ms":
            return str(milliseconds)
    raise QueryError(f"variable {name}: the date format {detail!r} is not known here: iso, seconds or ms")


def _names(variables: Mapping[str, Variable]) -> str:
    own: Sequence[str] = sorted(name for name, variable in variables.items() if not variable.built_in)
    return ", ".join(own) or "none"
