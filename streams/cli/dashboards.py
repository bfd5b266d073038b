"""`spendstream dashboards`"""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from grafana import alert_rules, wanted
from grafana.dashboards import every
from grafana.panels import SOURCE
from grafana.push import Grafana
from grafana.wanted import Wanted
from streams.settings import Settings, settings

app = typer.Typer(
    no_args_is_help=True,
    help="Dashboards and alert rules in a Grafana that already runs (SPEND_GRAFANA_URL, SPEND_GRAFANA_TOKEN).",
)

NoDataSource = Annotated[
    bool,
    typer.Option(
        "--no-data-source",
        help=f"Leave the data source {SOURCE['uid']} alone: an administrator made it. Then the token needs no "
        "more than the role Editor.",
    ),
]


@app.command("list")
def list_() -> None:
    """List what a push brings: asks no Grafana."""
    table = Table("kind", "name", "title")
    for each in everything(settings(), data_source=True):
        body = each.body.get("dashboard", each.body)
        table.add_row(each.kind, each.name, body.get("title") or body.get("name"))
    Console().print(table)


@app.command()
def diff(no_data_source: NoDataSource = False) -> None:
    """Show what a push would change, as unified diffs. Exit code 1 if anything."""
    conf = settings()
    console = Console()
    steps = list(Grafana(conf).compare(everything(conf, data_source=not no_data_source)))
    for step in steps:
        if step.outcome == "unchanged":
            continue
        console.print(f"{step.wanted}: would be {step.outcome}", style="bold", highlight=False)
        if step.outcome == "updated":
            console.print(Syntax(step.change, "diff", background_color="default", word_wrap=True))
    changing = sum(step.outcome != "unchanged" for step in steps)
    console.print(f"{changing} of {len(steps)} would change" if changing else f"all {len(steps)} are as they should be")
    if changing:
        raise typer.Exit(1)


@app.command()
def push(
    no_data_source: NoDataSource = False,
    renew_password: Annotated[
        bool, typer.Option("--renew-password", help="Send SPEND_READER_PASSWORD again: it has changed.")
    ] = False,
) -> None:
    """Create or update the folder, the data source, the dashboards and the alert rules; what is right is left alone.

    The data source gets SPEND_READER_PASSWORD when it has none. Contact points and notification policies are yours.
    """
    conf = settings()
    steps = Grafana(conf).push(everything(conf, data_source=not no_data_source), renew_password=renew_password)
    changed = 0
    for step in steps:
        changed += step.outcome != "unchanged"
        print(f"{step.wanted}: {step.outcome}")
    print(f"{changed} changed" if changed else "nothing to change")


def everything(conf: Settings, *, data_source: bool) -> Iterator[Wanted]:
    """All that a Grafana should hold, each object after what it needs."""
    yield wanted.folder()
    if data_source:
        yield wanted.data_source(conf)
    yield from wanted.dashboards((each.json() for each in every()), conf.timezone)
    yield wanted.alert_rules(alert_rules.pushed(wanted.FOLDER))
