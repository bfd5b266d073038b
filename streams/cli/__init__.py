"""The command line: a thin file per command, errors as one line, exit codes that mean something.

0  done                 3  halted rather than lose or double anything
1  done, with findings  4  a server does not answer
2  a wrong setting, option or file
"""

import logging
import sys
from collections.abc import Callable

import typer

from streams.errors import SpendError


def build() -> typer.Typer:
    """The Typer app with every command."""
    from streams.cli import (
        audit,
        dead_letters,
        demo,
        doctor,
        migrate,
        priced,
        produce,
        rates,
        repair,
        report,
        sink,
        topics,
        up,
        worker,
    )

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Real-time, exact spend of AI usage. Settings are SPEND_... variables: `spendstream doctor --settings`.",
    )
    commands: dict[str, Callable[..., None]] = {
        "up": up.command,
        "demo": demo.command,
        "produce": produce.command,
        "report": report.command,
        "audit": audit.command,
        "worker": worker.command,
        "sink": sink.command,
        "priced": priced.command,
        "doctor": doctor.command,
        "repair": repair.command,
    }
    for name, command in commands.items():
        app.command(name)(command)
    for name, group in {
        "topics": topics.app,
        "migrate": migrate.app,
        "rates": rates.app,
        "dead-letters": dead_letters.app,
    }.items():
        app.add_typer(group, name=name)
    return app


def main() -> None:
    """Run a command; a SpendError ends with its one line and its exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # librdkafka's lines are for daemons' logs
    try:
        build()()
    except SpendError as exc:
        print(f"spendstream: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
