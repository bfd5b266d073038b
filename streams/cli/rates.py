"""`spendstream rates`"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.errors import SpendError
from streams.rate_sources import publish_rates, rate_json, read_rates_file, topic_rates
from streams.settings import Settings, settings
from streams.spend.explain import Explanation, dollars, explain
from streams.spend.rates import Rate, RateKey, default_table

app = typer.Typer(
    no_args_is_help=True,
    help="Own rates: negotiated prices, discounts, mark-ups, flat rates; and which rate prices a call, and why.",
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


@app.command("list")
def list_rates(as_json: AsJson = False) -> None:
    """List the own rates: of SPEND_RATES_FILE and of the topic spend.rates."""
    conf = settings()
    rates = [("file", rate) for rate in _file_rates(conf)] + [("topic", rate) for rate in topic_rates(conf).values()]
    if as_json:
        print(json.dumps([{"from": source, **json.loads(rate_json(rate))} for source, rate in rates], indent=2))
        return
    if not rates:
        Console().print("No own rates: every call is priced at the published prices.")
        return
    table = Table("id", "from", "applies to", "says", "time")
    for source, rate in rates:
        table.add_row(rate.id, source, _applies_to(rate), _says(rate), _time(rate))
    Console().print(table)


@app.command("set")
def set_rates(
    file: Annotated[Path, typer.Argument(help="YAML: a list of rates as in docs/pricing.md; - reads standard input.")],
) -> None:
    """Put rates on the topic spend.rates; a rate with an id that is there already takes its place."""
    conf = settings()
    new = read_rates_file(Path("/dev/stdin") if str(file) == "-" else file, "FILE")
    if not new:
        raise SpendError(f"{file}: there is no rate in it")
    kept = {rate_id: rate for rate_id, rate in topic_rates(conf).items() if rate_id not in {rate.id for rate in new}}
    default_table([*_file_rates(conf), *kept.values(), *new])  # refuses ties before anything is published
    publish_rates(conf, new)
    print(f"{len(new)} rates set; workers use them within a second")


@app.command("remove")
def remove_rates(ids: Annotated[list[str], typer.Argument(help="Ids of rates on the topic.")]) -> None:
    """Take rates off the topic spend.rates."""
    conf = settings()
    unknown = sorted(set(ids) - set(topic_rates(conf)))
    if unknown:
        raise SpendError(f"not on the topic spend.rates: {', '.join(unknown)}; see `spendstream rates list`")
    publish_rates(conf, removed=ids)
    print(f"{len(ids)} rates removed; workers stop using them within a second")


@app.command("explain")
def explain_rate(
    provider: Annotated[str, typer.Argument(help="As events name it: openai, aws.bedrock, gcp.vertex_ai, ...")],
    model: Annotated[str, typer.Argument(help="The model that answered.")],
    *,
    at: Annotated[
        str | None, typer.Option(help="Instant, ISO 8601, UTC unless it says otherwise; default: now.")
    ] = None,
    service_tier: Annotated[str, typer.Option(help="The tier that served the call.")] = "",
    batch: Annotated[bool, typer.Option("--batch", help="Served by a batch interface.")] = False,
    speed: Annotated[str, typer.Option(help="fast, standard")] = "",
    region: Annotated[str, typer.Option(help="The region that served the call.")] = "",
    customer: Annotated[str, typer.Option(help="For own rates of a customer.")] = "",
    contract: Annotated[str, typer.Option(help="For own rates of a contract (the tag `contract`).")] = "",
    input_tokens: Annotated[int, typer.Option(help="Total input tokens: long requests can cost more.")] = 0,
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave out the rates of the topic: needs no broker.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Which rate prices this model at this instant, step by step, and what a unit of everything costs."""
    conf = settings()
    own = [*_file_rates(conf), *([] if offline else topic_rates(conf).values())]
    key = RateKey(provider, model, service_tier, batch, speed, region, customer, contract)
    answer = explain(default_table(own), key, _instant(at), input_tokens)
    if as_json:
        print(json.dumps(answer.as_json(), indent=2))
    else:
        _print(answer)
    if answer.rate_id is None:
        raise typer.Exit(1)


def _print(answer: Explanation) -> None:
    console = Console()
    console.print(f"[bold]{answer.rate_id or 'unpriced'}[/] at {answer.at:%Y-%m-%d %H:%M:%S} UTC ({answer.version})")
    for step in answer.steps:
        console.print(f"  {step}", highlight=False, markup=False)
    if answer.rates:
        table = Table("unit", "US dollars a unit", "a million", title="What it costs")
        for unit, price in answer.rates.items():
            table.add_row(unit, dollars(price), dollars(price * 10**6))
        console.print(table)
    if answer.unpriced:
        console.print("without a price: " + ", ".join(answer.unpriced))


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise SpendError(f"--at: {text!r} is not an instant such as 2026-08-16T16:00:00Z") from exc
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _file_rates(conf: Settings) -> list[Rate]:
    return read_rates_file(conf.rates_file) if conf.rates_file else []


def _applies_to(rate: Rate) -> str:
    fields = ("provider", "model", "customer", "contract", "region", "service_tier")
    return ", ".join(f"{name} {value}" for name in fields if (value := getattr(rate, name)) is not None) or "everything"


def _says(rate: Rate) -> str:
    if rate.discount_percent is not None:
        return f"{rate.discount_percent} % off"
    if rate.markup_percent is not None:
        return f"{rate.markup_percent} % on top"
    tokens = {f"{bucket} ${dollars(steps.base * 10**6)}/Mtok" for bucket, steps in rate.tokens.items()}
    return ", ".join(sorted(tokens | {f"{name} ${dollars(price)}" for name, price in rate.quantities.items()}))


def _time(rate: Rate) -> str:
    start, end = rate.effective_from, rate.effective_to
    return f"{start or 'ever'} to {end or 'ever'}" + (", in windows" if rate.windows else "")
