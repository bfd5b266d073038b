"""What the stream warned of while the demo's traffic came: budgets, alerts in order, the runaway with its causes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams import alerts
from streams.alerts import Published
from streams.budgets import topic_budgets, topic_statuses
from streams.cli.budgets import rows_of
from streams.sample.story import Told
from streams.settings import Settings
from streams.spend.alert_text import moment

_QUIET = ("updated", "revised")  # an incident that goes on; shown once it opened
_MOST = 24
_FOUND_WITHIN = timedelta(minutes=15)
_COLOURS = {"info": "dim", "minor": "yellow", "major": "dark_orange", "critical": "red"}


def show(conf: Settings, told: Told, console: Console) -> None:
    """Print the story; `told` is what the sample's traffic put in."""
    zone = ZoneInfo(conf.timezone)
    published = sorted(alerts.read(conf), key=lambda each: each.alert.document["time"])
    console.print(_budgets(conf, zone))
    console.print("What the stream warned of, by the time of the events that caused it\n", style="bold")
    loud = [each for each in published if each.alert.document["data"]["change"] not in _QUIET]
    for each in loud[-_MOST:]:
        document = each.alert.document
        data, at = document["data"], datetime.fromisoformat(document["time"])
        colour = _COLOURS[data["severity"]]
        console.print(
            f" {moment(at, zone)}  [{colour}]{data['severity']:8}[/] {escape(data['title'])}", highlight=False
        )
    if len(loud) > _MOST:
        console.print(f" and {len(loud) - _MOST} before them: `spendstream alerts list` on a stack of your own")
    console.print()
    _runaway(published, told, zone, console)


def _budgets(conf: Settings, zone: ZoneInfo) -> Table:
    table = Table(title="Budgets", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("budget", overflow="fold")
    table.add_column("spent", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("begins anew", no_wrap=True)
    budgets, statuses = topic_budgets(conf), topic_statuses(conf)
    for budget in sorted(budgets.values(), key=lambda budget: budget.name.casefold()):
        mine = [status for status in statuses.values() if status.budget_id == budget.id]
        for row in rows_of(budget, sorted(mine, key=lambda status: -status.spent_picos)[:1], zone, {}):
            table.add_row(*row)
    return table


def _runaway(published: list[Published], told: Told, zone: ZoneInfo, console: Console) -> None:
    """The loop that was put into the traffic, and the alert that found it."""
    if not told.runaway_calls:
        return
    console.print(
        f"Put into the traffic: {told.runaway_calls:,} calls of a loop in {told.workload}, from "
        f"{moment(told.began, zone)} to {moment(told.ended, zone)}",
        highlight=False,
    )
    latest = told.began + _FOUND_WITHIN
    for each in published:
        document = each.alert.document
        data, at = document["data"], datetime.fromisoformat(document["time"]).astimezone(UTC)
        is_it = (data["dimension"], data["member"]) == ("workload", told.workload)
        if document["type"] == "spend.anomaly.opened" and is_it and told.began <= at <= latest:
            console.print(
                f"Found {int((at - told.began).total_seconds() / 60)} minutes after it began:", highlight=False
            )
            console.print(f"[dim]{escape(data['text'])}[/]", highlight=False)
            return
    console.print(f"[red]Not found within {int(_FOUND_WITHIN.total_seconds() / 60)} minutes")
