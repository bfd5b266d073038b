"""The command line: a thin file per command, errors as one line, exit codes that mean something.

0  done                 3  halted rather than lose or double anything
1  done, with findings  4  a server does not answer
2  a wrong setting, option or file
"""

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from streams.errors import SpendError

COMMANDS = (
    "up",
    "demo",
    "produce",
    "report",
    "alerts",
    "audit",
    "rates",
    "budgets",
    "dead-letters",
    "names",
    "forget",
    "doctor",
    "worker",
    "windows",
    "sink",
    "relay",
    "dashboards",
    "preview",
    "topics",
    "migrate",
    "repair",
    "priced",
    "kafka",
)


def build(wanted: Sequence[str] = COMMANDS) -> typer.Typer:
    """The Typer app. A command's module is imported only when it is wanted: some of them load half of the pipeline."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Real-time, exact spend of AI usage. Settings are SPEND_... variables: `spendstream doctor --settings`.",
    )
    app.callback()(lambda: None)  # a group, also where one command is all there is
    for name in wanted:
        module = import_module(f"streams.cli.{name.replace('-', '_')}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    return app


def main() -> None:
    """Run a command; a SpendError ends with its one line and its exit code."""
    os.putenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own allocator keeps 100 MB of what a worker has freed
    logging.getLogger().addHandler(logging.NullHandler())  # librdkafka's lines are for daemons' logs
    try:
        build(sys.argv[1:2] if sys.argv[1:2] and sys.argv[1] in COMMANDS else COMMANDS)()
    except SpendError as exc:
        print(f"spendstream: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
