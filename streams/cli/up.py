"""`spendstream up`"""

import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from streams.settings import Settings, settings
from streams.supervisor import Stack


def command(
    traffic: Annotated[int, typer.Option(min=0, help="Send so many sample events a second, too.")] = 0,
) -> None:
    """Run everything on this machine until Ctrl-C: broker, ClickHouse, worker and sink.

    The broker is in memory: it starts empty each time. What was priced is kept in ClickHouse, under SPEND_STATE_DIR.
    """
    # Errors are for stderr; so is progress, so that nothing mixes with what a command prints.
    console = Console(stderr=True)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # The first signal begins an orderly stop, which no further one may cut short.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        with Stack(settings(), tell=lambda line: console.print(f"[dim]{line}[/dim]", highlight=False)) as stack:
            if traffic:
                stack.spawn("traffic", sys.executable, "-m", "streams.sample.live", "--rate", str(traffic))
            console.print(_where(stack.settings, traffic))
            stack.wait()
    except KeyboardInterrupt:
        console.print("stopped")


def _where(own: Settings, traffic: int) -> Panel:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold")
    rows.add_row("Kafka", own.kafka_bootstrap_servers)
    rows.add_row("ClickHouse", f"{own.clickhouse_url}  user {own.clickhouse_user}, database {own.clickhouse_database}")
    for name, port in (("Worker", own.worker_web_port), ("Sink", own.sink_web_port)):
        rows.add_row(name, f"http://{own.web_host}:{port}/metrics  /health  /ready")
    rows.add_row("Files", str(own.state_dir))
    rows.add_row("Logs", str(own.state_dir / "logs"))
    if traffic:
        rows.add_row("Traffic", f"{traffic} sample events a second")
    rows.add_row("", "")
    rows.add_row("Look", "spendstream report")
    rows.add_row("", f"curl {own.clickhouse_url} -d 'SELECT count() FROM {own.clickhouse_database}.usage'")
    rows.add_row("Stop", "Ctrl-C")
    return Panel(rows, title="spendstream is up", expand=False)
