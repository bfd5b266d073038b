"""`spendstream alerts`"""

import getpass
import json
import re
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams import alerts
from streams.alerts import Published
from streams.errors import SpendError
from streams.kafka import wait_for_brokers
from streams.planned import Planned, planned_id, publish_planned, read_planned, refused, withdraw
from streams.relay.deliveries import read_deliveries
from streams.settings import Settings, settings
from streams.spend.alert_document import SEVERITIES
from streams.spend.alert_text import moment, who

app = typer.Typer(help="Alerts: follow them, look at an incident, acknowledge planned activity.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]
_COLOURS = {"info": "dim", "minor": "yellow", "major": "red", "critical": "bold red"}
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", help="Begin with so many of the latest.", min=0)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="The documents themselves, one a line.")] = False,
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C.")] = True,
) -> None:
    """Print alerts as they come."""
    conf = _ready()
    show = _print_json if as_json else _printer(conf)
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    before = list(alerts.read(conf))
    for each in before[len(before) - min(count, len(before)) :]:
        show(each)
    if follow:
        start = before[-1].offset + 1 if before else alerts.end(conf)[0]
        for each in alerts.tail(conf, start, stopped):
            show(each)


@app.command("list")
def list_(
    still_open: Annotated[
        bool, typer.Option("--open", help="Only budgets' and anomalies' incidents that are not over.")
    ] = False,
    severity: Annotated[str, typer.Option(help=f"At least: {', '.join(SEVERITIES)}.")] = "info",
    most: Annotated[int, typer.Option(help="Most incidents shown, the latest.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List incidents, each with its latest change, the one that changed last at the end."""
    if severity not in SEVERITIES:
        raise SpendError(f"--severity {severity}: there is no such severity, only {', '.join(SEVERITIES)}")
    conf = _ready()
    found = [
        each
        for each in alerts.fold(alerts.read(conf))
        if SEVERITIES.index(_data(each.latest)["severity"]) >= SEVERITIES.index(severity)
        and (each.is_open or not still_open)
    ]
    if as_json:
        print(json.dumps([each.as_json() for each in found], indent=2, ensure_ascii=False))
        return
    if not found:
        print("no alerts")
        return
    show, console = _printer(conf), Console(soft_wrap=True, highlight=False)
    for each in found[-most:]:
        show(each.latest)
        console.print(f"[dim]  {escape(each.key)}[/]")  # whole, so that it can be copied
    if len(found) > most:
        console.print(f"{len(found) - most:,} older ones are not shown: --most, or --json for all")


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="An incident as `list` names it, or an alert's id.")],
    as_json: AsJson = False,
) -> None:
    """Show all that was said about an incident, and what became of each alert on the relay's channels."""
    conf = _ready()
    found = [
        each
        for each in alerts.fold(alerts.read(conf))
        if what == each.key or what in {change.alert.id for change in each.changes}
    ]
    if not found:
        raise SpendError(f"no incident or alert {what!r}: `spendstream alerts list` shows them")
    (incident,) = found
    statuses = read_deliveries(conf).deliveries.values()
    delivered = {
        each.alert.id: sorted((s for s in statuses if s.alert_id == each.alert.id), key=lambda s: s.channel)
        for each in incident.changes
    }
    if as_json:
        changes = [
            {"document": each.alert.document, "deliveries": [status.as_json() for status in delivered[each.alert.id]]}
            for each in incident.changes
        ]
        print(json.dumps({"incident": incident.key, "changes": changes}, indent=2, ensure_ascii=False))
        return
    zone = ZoneInfo(conf.timezone)
    for each in incident.changes:
        data, at = _data(each), datetime.fromisoformat(each.alert.document["time"])
        print(f"{moment(at, zone)}  {data['severity']}, {data['change']}: {data['title']}")
        for line in data["text"].splitlines():
            print(f"  {line}")
        for status in delivered[each.alert.id]:
            tried = f" after {status.attempts} attempts" if status.attempts > 1 else ""
            why = f" ({status.last_error})" if status.last_error else ""
            print(f"  {status.channel}: {status.state}{tried}{why}")
        print(f"  id {each.alert.id}")


@app.command()
def acknowledge(
    dimension: Annotated[str, typer.Argument(help="Such as workload or customer.")],
    member: Annotated[str, typer.Argument(help="Its member; '' for the calls that bear none.")],
    *,
    until: Annotated[str, typer.Option(help="2026-12-01, 2026-12-01T18:00, or from now on for 90m, 4h, 3d, 2w.")],
    reason: Annotated[str, typer.Option(help="Why, for your colleagues.")],
    start: Annotated[str | None, typer.Option("--from", help="When it begins; default: now.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; default: you.")] = None,
) -> None:
    """Acknowledge planned activity: until it is over, unusual spend of this member raises no alert.

    Budgets are not touched by it: what is spent is spent.
    """
    conf, now = settings(), datetime.now(UTC)
    begins = now.replace(microsecond=0) if start is None else _instant("--from", start, conf, now)
    try:
        planned = Planned(
            id=planned_id(dimension, member, begins),
            dimension=dimension,
            member=member,
            from_=begins,
            until=_instant("--until", until, conf, now),
            reason=reason,
            by=getpass.getuser() if by is None else by,
        )
    except ValidationError as exc:
        raise refused(exc) from exc
    publish_planned(_ready(), planned)
    zone = ZoneInfo(conf.timezone)
    print(f"unusual spend of {who(dimension, member)} raises no alert until {moment(planned.until, zone)}")
    print(f"withdraw it with: spendstream alerts withdraw '{planned.id}'")


@app.command()
def planned(as_json: AsJson = False) -> None:
    """List planned activity."""
    conf = _ready()
    found = sorted(read_planned(conf).values(), key=lambda each: (each.from_, each.id))
    if as_json:
        print(json.dumps([each.model_dump(mode="json", by_alias=True) for each in found], indent=2, ensure_ascii=False))
        return
    if not found:
        print("nothing is planned")
        return
    zone = ZoneInfo(conf.timezone)
    table = Table("id", "what", "from", "until", "reason", "by")
    for each in found:
        texts = (each.id, who(each.dimension, each.member), moment(each.from_, zone), moment(each.until, zone))
        table.add_row(*(escape(text) for text in (*texts, each.reason, each.by)))
    Console().print(table)


@app.command("withdraw")
def withdraw_(ids: Annotated[list[str], typer.Argument(help="Ids as `planned` shows them.")]) -> None:
    """Withdraw planned activity: unusual spend of these members raises alerts again."""
    conf = _ready()
    if unknown := sorted(set(ids) - set(read_planned(conf))):
        raise SpendError(f"not planned: {', '.join(unknown)}; see `spendstream alerts planned`")
    withdraw(conf, ids)
    print(f"{len(ids)} withdrawn")


def _ready() -> Settings:
    conf = settings()
    wait_for_brokers(conf)
    return conf


def _data(published: Published) -> dict[str, Any]:
    return dict(published.alert.document["data"])


def _print_json(published: Published) -> None:
    print(published.alert.value.decode(), flush=True)


def _printer(conf: Settings) -> Callable[[Published], None]:
    zone, console = ZoneInfo(conf.timezone), Console(soft_wrap=True, highlight=False)

    def show(published: Published) -> None:
        data, at = _data(published), datetime.fromisoformat(published.alert.document["time"])
        colour = _COLOURS[data["severity"]]
        console.print(
            f"{moment(at, zone)}  [{colour}]{data['severity']:8}[/] {data['change']:9}  {escape(data['title'])}"
        )

    return show


def _instant(option: str, text: str, conf: Settings, now: datetime) -> datetime:
    """A date, a local time, an instant, or a span from now on."""
    if span := re.fullmatch(r"(\d{1,4})([mhdw])", text):
        return (now + int(span[1]) * _UNITS[span[2]]).replace(microsecond=0)
    try:
        moment_ = datetime.fromisoformat(text)
    except ValueError as exc:
        raise SpendError(
            f"{option}: {text!r} is neither an instant such as 2026-12-01T18:00 nor a span such as 3d"
        ) from exc
    local = moment_.replace(tzinfo=ZoneInfo(conf.timezone)) if moment_.tzinfo is None else moment_
    return local.astimezone(UTC)
