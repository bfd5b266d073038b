"""`spendstream budgets`"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams.budgets import change_budget, create_budget, remove_budget, topic_budgets, topic_statuses
from streams.errors import SpendError
from streams.pseudonyms import names_to_show, stored_as
from streams.settings import Settings, settings
from streams.spend.budget import EACH, Budget
from streams.spend.budget_status import BudgetStatus, as_read, picos
from streams.spend.dimensions import DIMENSIONS, GLOBAL
from streams.spend.money import shown

app = typer.Typer(
    no_args_is_help=True, help="Budgets: limits on what a customer, workload, team, model, tag, ... may spend."
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The budget's id, as `spendstream budgets list` shows it.")]
_WARN_AT = "Percent of the limit at which to warn; repeatable."
_PERIODS = "day, week, month, quarter or year, in SPEND_TIMEZONE."
_COLOURS = {"ok": "green", "warning": "yellow", "exceeded": "red"}
_WIDTH = 16  # of a progress bar


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="For people; the id is made of it.")],
    *,
    limit: Annotated[str, typer.Option(help="US dollars a period.")],
    scope: Annotated[str, typer.Option(help=f"What is limited: {', '.join(DIMENSIONS)}.")] = GLOBAL,
    member: Annotated[
        str, typer.Option(help=f"Whose spend; a tag as key=value; {EACH} for each member on its own.")
    ] = "",
    period: Annotated[str, typer.Option(help=_PERIODS)] = "month",
    threshold: Annotated[list[int], typer.Option(help=_WARN_AT)] = [80],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Create a budget; it counts what the present period has spent already."""
    if member and scope == GLOBAL:
        raise SpendError(f"member: {member!r} of what? Add --scope, such as --scope customer")
    conf = settings()
    member = member if member == EACH else stored_as(conf, scope, member)
    said = {
        "name": name, "scope": scope, "member": member, "period": period, "limit_usd": limit,
        "thresholds": sorted(threshold),
    }  # fmt: skip
    budget = create_budget(conf, said, datetime.now(UTC))
    _told(budget, "created; workers use it within a second", as_json)


@app.command("list")
def list_budgets(as_json: AsJson = False) -> None:
    """List the budgets and how they stand: green, yellow from a threshold, red from the limit."""
    conf = settings()
    budgets = topic_budgets(conf)
    standing = _standing(conf, budgets)
    if as_json:
        print(json.dumps([_document(budget, standing[budget.id]) for budget in budgets.values()], indent=2))
        return
    if not budgets:
        Console().print("No budgets: `spendstream budgets create` makes one.")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("budget", min_width=20, overflow="fold")
    table.add_column("spent", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("begins anew", no_wrap=True)
    names = names_to_show(conf)
    for budget in sorted(budgets.values(), key=lambda budget: budget.name.casefold()):
        for row in rows_of(budget, standing[budget.id], ZoneInfo(conf.timezone), names):
            table.add_row(*row)
    Console().print(table)


@app.command("show")
def show(budget_id: Id, as_json: AsJson = False) -> None:
    """Show a budget, how it stands and where it is heading."""
    conf = settings()
    budgets = topic_budgets(conf)
    if budget_id not in budgets:
        raise SpendError(f"there is no budget {budget_id!r}; `spendstream budgets list` shows them")
    budget, zone = budgets[budget_id], ZoneInfo(conf.timezone)
    statuses = _standing(conf, {budget_id: budget})[budget_id]
    if as_json:
        print(json.dumps(_document(budget, statuses), indent=2))
        return
    names = names_to_show(conf)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    for field, value in budget.model_dump(mode="json").items():
        grid.add_row(field, escape(str(value)))
    for status in statuses:
        grid.add_row("", "")
        grid.add_row("of", _of(budget, status.member, names))
        spent = f"{shown(status.spent_picos)} of {_limit(budget)}, {status.percent} %"
        grid.add_row("spent", f"{spent}: {_state(status)}")
        grid.add_row("", _bar(budget, status))
        grid.add_row("begins anew", _when(status.resets_at, zone))
        if status.forecast_p50_usd is not None and status.forecast_p90_usd is not None:
            half, most = shown(picos(status.forecast_p50_usd)), shown(picos(status.forecast_p90_usd))
            grid.add_row("at its end", f"{half}, in nine of ten cases below {most} ({status.forecast_trials} trials)")
        if status.state == "exceeded" or status.forecast_p50_usd is not None:
            likely, earliest = _when(status.breach_p50, zone), _when(status.breach_p90, zone)
            grid.add_row("limit reached", likely if likely == earliest else f"{likely}, at the earliest {earliest}")
        grid.add_row("as of", _when(status.as_of, zone))
    Console().print(grid)


@app.command("change")
def change(
    budget_id: Id,
    *,
    name: Annotated[str | None, typer.Option(help="Another name; the id stays.")] = None,
    limit: Annotated[str | None, typer.Option(help="US dollars a period.")] = None,
    period: Annotated[str | None, typer.Option(help=_PERIODS)] = None,
    threshold: Annotated[list[int] | None, typer.Option(help=_WARN_AT)] = None,
    as_json: AsJson = False,
) -> None:
    """Change a budget. What it is about stays: for another scope or member create another budget."""
    said = {"name": name, "limit_usd": limit, "period": period, "thresholds": sorted(threshold) if threshold else None}
    given = {field: value for field, value in said.items() if value is not None}
    if not given:
        raise SpendError("say what to change: --name, --limit, --period or --threshold")
    _told(change_budget(settings(), budget_id, given), "changed; workers use it within a second", as_json)


@app.command("delete")
def delete(ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of budgets.")]) -> None:
    """Delete budgets; open incidents are resolved."""
    conf = settings()
    unknown = sorted(set(ids) - set(topic_budgets(conf)))
    if unknown:
        raise SpendError(f"there is no budget {', '.join(map(repr, unknown))}; `spendstream budgets list` shows them")
    for budget_id in dict.fromkeys(ids):
        remove_budget(conf, budget_id)
        print(f"{budget_id} deleted")


def _told(budget: Budget, what: str, as_json: bool) -> None:
    print(json.dumps(budget.model_dump(mode="json"), indent=2) if as_json else f"{budget.id} {what}")


def _document(budget: Budget, statuses: list[BudgetStatus]) -> dict[str, Any]:
    return {**budget.model_dump(mode="json"), "status": [status.model_dump(mode="json") for status in statuses]}


def _standing(conf: Settings, budgets: dict[str, Budget]) -> dict[str, list[BudgetStatus]]:
    """The statuses of each budget as they are to be read at this moment, those that spent most of their limit first."""
    now, zone = datetime.now(UTC), ZoneInfo(conf.timezone)
    found: dict[str, list[BudgetStatus]] = {budget_id: [] for budget_id in budgets}
    for status in topic_statuses(conf).values():
        if status.budget_id in budgets:
            found[status.budget_id].append(as_read(status, budgets[status.budget_id], now, zone))
    return {key: sorted(each, key=lambda status: (-status.spent_picos, status.member)) for key, each in found.items()}


def rows_of(
    budget: Budget, statuses: list[BudgetStatus], zone: ZoneInfo, names: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """The rows of a budget in a table: budget, spent, state, begins anew. `names`: whom pseudonyms stand for."""
    found: list[BudgetStatus | None] = [*statuses]
    return [_row(budget, status, zone, names) for status in found or [None]]


def _row(budget: Budget, status: BudgetStatus | None, zone: ZoneInfo, names: Mapping[str, str]) -> tuple[str, ...]:
    member = status.member if status else budget.member
    name = f"{escape(budget.name)}\n[dim]{budget.id}: {_of(budget, member, names)}[/]"
    if status is None:
        return name, f"-\n[dim]of {_limit(budget)}[/]", "[dim]not known[/]", ""
    return (
        name,
        f"{shown(status.spent_picos)}\n[dim]of {_limit(budget)}[/]",
        f"{_bar(budget, status)}\n{status.percent} % {_state(status)}",
        _when(status.resets_at, zone).replace(" at ", "\n"),
    )


def _of(budget: Budget, member: str, names: Mapping[str, str]) -> str:
    return budget.scope if budget.scope == GLOBAL else f"{budget.scope} {escape(names.get(member, member))}"


def _limit(budget: Budget) -> str:
    return f"{shown(budget.limit_picos)} a {budget.period}"


def _state(status: BudgetStatus) -> str:
    return f"[{_COLOURS[status.state]}]{status.state}[/]"


def _bar(budget: Budget, status: BudgetStatus) -> str:
    full = min(max(status.spent_picos * _WIDTH // budget.limit_picos, 0), _WIDTH)
    return f"[{_COLOURS[status.state]}]{'━' * full}[/][dim]{'─' * (_WIDTH - full)}[/]"


def _when(instant: datetime | None, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%d %b %Y at %H:%M}" if instant else "not in this period"
