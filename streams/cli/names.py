"""`spendstream names`"""

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams.errors import SpendError
from streams.pseudonyms import Name, known_names
from streams.settings import settings

app = typer.Typer(
    help="Who the pseudonyms of customers and users stand for (SPEND_PSEUDONYMS). Whoever may read the Kafka topic "
    "spend.names may know.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


@app.command("list")
def list_names(as_json: AsJson = False) -> None:
    """List the names, by field and name."""
    _show(known_names(settings()), as_json)


@app.command()
def show(
    who: Annotated[str, typer.Argument(help="A pseudonym, or a name: the pseudonyms that it has.")],
    as_json: AsJson = False,
) -> None:
    """Show whom a pseudonym stands for, or how events bear a name: budgets, own rates and /api/allow are given that."""
    found = {key: name for key, name in known_names(settings()).items() if who in (key, name.name)}
    if not found:
        raise SpendError(f"{who!r} is not on spend.names: no producer has sent it, or it was forgotten")
    _show(found, as_json)


def _show(names: dict[str, Name], as_json: bool) -> None:
    rows = sorted((name.kind, name.name, key) for key, name in names.items())
    if as_json:
        print(json.dumps([{"kind": kind, "name": name, "pseudonym": key} for kind, name, key in rows], indent=2))
        return
    table = Table("field", "name", "pseudonym", box=box.SIMPLE_HEAD)
    for kind, name, key in rows:
        table.add_row(kind, escape(name), key)
    Console().print(table if rows else "No names: SPEND_PSEUDONYMS is not set where events are produced.")
