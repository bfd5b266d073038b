"""`spendstream doctor`"""

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from streams.doctor import examine
from streams.settings import Settings, settings


def command(
    show_settings: Annotated[bool, typer.Option("--settings", help="Print every setting, then end.")] = False,
) -> None:
    """Look at the whole set-up: broker, topics, schema, database, lag, unpriced models; say what to do.

    Exits with 1 when something needs a hand.
    """
    if show_settings:
        _print_settings(settings())
        return
    table = Table("", "check", "found", "mend", box=box.SIMPLE_HEAD)
    ill = False
    for finding in examine(settings()):
        ill = ill or bool(finding.mend)
        sign = "[red]✗" if finding.mend else "[green]✓" if finding.looked else "–"
        table.add_row(sign, finding.check, finding.found, finding.mend)
    Console().print(table)
    if ill:
        raise typer.Exit(1)


def _print_settings(conf: Settings) -> None:
    table = Table("variable", "value", "what it is")
    for name, field in Settings.model_fields.items():
        table.add_row(f"SPEND_{name.upper()}", _without_user(str(getattr(conf, name))), field.description or "")
    Console().print(table)


def _without_user(value: str) -> str:
    """A setting as it may be shown: an address keeps its host and loses its user and password."""
    scheme, separator, rest = value.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else value
