"""`spendstream up`"""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from streams.budgets import publish
from streams.errors import SpendError
from streams.rates_feed import rates_in_force
from streams.sample.budgets import live_budget
from streams.settings import Settings, settings
from streams.signals import stop_in_order
from streams.spend.budget import Budget
from streams.supervisor import EVERYTHING, PREVIEW, RELAY, Stack


def command(
    traffic: Annotated[int, typer.Option(min=0, help="Send so many sample events a second, too.")] = 0,
    incident: Annotated[
        bool, typer.Option(help="Let a workload of the traffic run away, past a budget that is made for it.")
    ] = False,
    incident_after: Annotated[int, typer.Option(min=1, help="Seconds until it runs away.")] = 60,
) -> None:
    """Run everything on this machine until Ctrl-C: broker, ClickHouse, worker, windows worker, sink, relay,
    and a preview of the dashboards, whose address is the last line.

    The broker is in memory: it starts empty each time. What was priced is kept in ClickHouse, under SPEND_STATE_DIR.
    With SPEND_BROKER=kafka the broker is Apache Kafka and keeps its log there, too.
    """
    # Errors are for stderr; so is progress, so that nothing mixes with what a command prints.
    console = Console(stderr=True)
    if incident and not traffic:
        raise SpendError("--incident needs --traffic, such as --traffic 50")
    stop_in_order()
    try:
        own = settings()
        parts = (*EVERYTHING, PREVIEW) if own.relay_file is None else (*EVERYTHING, PREVIEW, RELAY)
        with Stack(own, parts=parts, tell=lambda line: console.print(f"[dim]{line}[/dim]", highlight=False)) as stack:
            told = f"{traffic} sample events a second"
            if traffic:
                live = [sys.executable, "-m", "streams.sample.live", "--rate", str(traffic)]
                if incident:
                    live += ["--incident-after", str(incident_after)]
                    told += f"\n{_prepare_incident(stack.settings, traffic, incident_after)}"
                stack.spawn("traffic", *live)
            console.print(_where(stack.settings, told if traffic else ""))
            console.print(dashboards_line(stack.settings), highlight=False)
            stack.wait()
    except KeyboardInterrupt:
        console.print("stopped")


def dashboards_line(own: Settings) -> str:
    """Where the preview is, as one line."""
    return f"Dashboards  http://127.0.0.1:{own.preview_port}/"


def _prepare_incident(own: Settings, rate: int, after: int) -> str:
    """Put the budget on the topic that the incident will exceed; what will happen, in words."""
    now = datetime.now(UTC)
    budget = Budget.model_validate(live_budget(rate, after, now, rates_in_force(own)))
    publish(own, {budget.id: budget})
    return f"{budget.member} runs away in {after} s, past its budget {budget.name!r} of ${budget.limit_usd:,}"


def _where(own: Settings, traffic: str) -> Panel:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold")
    rows.add_row("Kafka", own.kafka_bootstrap_servers)
    rows.add_row("ClickHouse", f"{own.clickhouse_url}  user {own.clickhouse_user}, database {own.clickhouse_database}")
    for name, port, more in (
        ("Worker", own.worker_web_port, "  /api/budgets  /api/allow"),
        ("Windows", own.windows_web_port, ""),
        ("Sink", own.sink_web_port, ""),
    ):
        rows.add_row(name, f"http://{own.web_host}:{port}/metrics  /health  /ready{more}")
    if own.relay_file is None:
        rows.add_row("Relay", "not started: SPEND_RELAY_FILE names the chat and paging tools that get the alerts")
    else:
        rows.add_row("Relay", f"http://{own.web_host}:{own.relay_web_port}/metrics  /health  /ready")
    rows.add_row("Files", str(own.state_dir))
    rows.add_row("Logs", str(own.state_dir / "logs"))
    if traffic:
        rows.add_row("Traffic", traffic)
    rows.add_row("", "")
    rows.add_row("Look", "spendstream report, budgets list, alerts tail")
    rows.add_row("", f"curl {own.clickhouse_url} -d 'SELECT count() FROM {own.clickhouse_database}.usage'")
    rows.add_row("Stop", "Ctrl-C")
    return Panel(rows, title="spendstream is up", expand=False)
