"""`spendstream produce`: files of usage, or published traces of real requests, to usage events."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from schemas.codec import encode_batch
from streams.errors import SpendError
from streams.event_columns import CONVERTERS, EPOCH, columns, record_keys, with_texts
from streams.formats import BadLine, Input, Portion, read_csv, read_jsonl
from streams.kafka import topic_ids, wait_for_brokers
from streams.producer import HASHED, UsageProducer, hash_user
from streams.pseudonyms import PSEUDONYM
from streams.settings import settings
from streams.spend.check import check
from streams.topics import USAGE
from streams.traces import TRACES, Assignment


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    AZURE_LLM = "azure-llm"
    MOONCAKE = "mooncake"


SUFFIXES = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}
FOR_TRACES = "Traces"
BROKER_SECONDS = 10.0

HELP = """Send usage events from files: CSV, JSON lines, or published traces of real requests.

CSV and JSON lines hold an event a line; the columns, or fields, are the event's own, listed below. An empty cell is
null. A map is an object in JSON and, in both, columns such as `tags.x` and `quantities.page`. A time is ISO 8601, in
UTC where it names no zone, or seconds, ms or microseconds since 1970. A user that is not hashed yet is hashed;
customers and users become pseudonyms where SPEND_PSEUDONYMS says so.

A line that cannot become an event, or that the pipeline would refuse, is reported by its number with the reason; the
rest goes on, and the exit code is 1. Sending a file again is safe: the same source and id are counted once.

The traces are `azure-llm` (AzureLLMInferenceTrace, CSV) and `mooncake` (JSON lines, whose hash_ids say what was read
from the cache). They name no provider, model, workload or customer: the options assign them. Request n, from 0, has
workload n mod W and customer (n div W) mod C; its id is its line number."""


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, plain or gzip; - is standard input.")],
    *,
    form: Annotated[
        Format | None, typer.Option("--format", help="What the files hold; by their names when it is not given.")
    ] = None,
    user_key: Annotated[
        Path | None,
        typer.Option(help="File whose bytes (16 or more) key the hash of users; without it SHA-256 is unkeyed."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="The events' source.", rich_help_panel=FOR_TRACES)] = None,
    provider: Annotated[str | None, typer.Option(help="Provider of all requests.", rich_help_panel=FOR_TRACES)] = None,
    model: Annotated[str | None, typer.Option(help="Model of all requests.", rich_help_panel=FOR_TRACES)] = None,
    workloads: Annotated[
        str | None, typer.Option(help="How many workloads (12), or their names: a,b,c", rich_help_panel=FOR_TRACES)
    ] = None,
    customers: Annotated[
        str | None, typer.Option(help="How many customers (60), or their names: a,b,c", rich_help_panel=FOR_TRACES)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="When the first request was, ISO 8601; otherwise the last one is now.", rich_help_panel=FOR_TRACES
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
) -> None:
    options = {"source": source, "provider": provider, "model": model}
    options |= {"workloads": workloads, "customers": customers, "start": start}
    said = {name: value for name, value in options.items() if value is not None}
    now = datetime.now(UTC)
    readers = [_reader(name, form, said, now) for name in files]
    key = _user_key(user_key)
    conf = settings()
    wait_for_brokers(conf, BROKER_SECONDS)
    topic_ids(conf, USAGE)
    bad: list[dict[str, str | int]] = []
    sent = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(Input(name)) for name in files]
        producer = stack.enter_context(UsageProducer(conf))
        progress = stack.enter_context(_progress(as_json))
        for file, read in zip(opened, readers, strict=True):
            task = progress.add_task(file.name, total=file.size, sent="")
            for portion in _readable(file, read):
                accepted = acceptable(portion)
                batch = with_hashed_users(producer.pseudonymous(accepted.batch), key)
                producer.send_many(record_keys(batch), encode_batch(batch, producer.prefix))
                sent += batch.num_rows
                for line in accepted.bad:
                    bad.append({"file": file.name, "line": line.number, "reason": line.reason})
                    progress.console.print(f"{file.name}:{line.number}: {line.reason}", markup=False, soft_wrap=True)
                progress.update(task, completed=file.position(), sent=f"{sent:,} events")
    if as_json:
        print(json.dumps({"topic": USAGE, "sent": sent, "bad": bad}, indent=2))
    else:
        print(f"{sent:,} events sent to {USAGE}" + (f"; {len(bad):,} lines left out" if bad else ""))
    if bad:
        raise typer.Exit(1)


def _help() -> str:
    """HELP with the columns; a paragraph on one line each, since the terminal's width is not known here."""
    rows = []
    for column in columns().values():
        needed = ", needed" if column.required else ""
        rows.append(f"`{column.name}` ({column.holds}{needed}): {column.doc}")
    paragraphs = [paragraph.replace("\n", " ") for paragraph in HELP.split("\n\n")]
    return "\n\n".join([*paragraphs, "\n".join(rows)]).replace("[", "\\[")


command.__doc__ = _help()


def acceptable(portion: Portion) -> Portion:
    """The portion without the events that the pipeline would refuse if they were sent now; they become bad lines."""
    now_us = (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1)
    keep, refused = check(portion.batch, np.full(portion.batch.num_rows, now_us))
    if not refused:
        return portion
    bad = [*portion.bad, *(BadLine(int(portion.lines[found.position]), found.detail) for found in refused)]
    return Portion(portion.batch.filter(pa.array(keep)), portion.lines[keep], sorted(bad, key=lambda line: line.number))


def with_hashed_users(batch: pa.RecordBatch, key: bytes | None) -> pa.RecordBatch:
    """The events with every user hashed that is not yet: HMAC-SHA-256 with the key, plain SHA-256 without one."""

    def hashed(names: list[str]) -> dict[str, str]:
        clear = [name for name in names if not HASHED.fullmatch(name) and not PSEUDONYM.fullmatch(name)]
        return {n: hash_user(n, key) if key else hashlib.sha256(n.encode()).hexdigest()[:32] for n in clear}

    return with_texts(batch, "user", hashed)


def _user_key(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        key = path.read_bytes().strip()
    except OSError as exc:
        raise SpendError(f"--user-key: {path} cannot be read ({exc.strerror})") from exc
    if len(key) < 16:
        raise SpendError(f"--user-key: {path} has {len(key)} bytes, and a key has 16 at least")
    return key


def _reader(
    name: str, form: Format | None, said: dict[str, str], now: datetime
) -> Callable[[Input], Iterator[Portion]]:
    form = form or SUFFIXES.get(PurePath(name.removesuffix(".gz")).suffix)
    if form is None:
        raise SpendError(f"{name}: what does it hold? Say --format {', '.join(Format)}")
    if form not in TRACES:
        if said:
            raise SpendError(f"--{next(iter(said))} is for traces: the lines of {form} say it themselves")
        return lambda file: (read_csv if form == Format.CSV else read_jsonl)(file.stream)
    trace = TRACES[form]
    assign = Assignment(
        source=said.get("source", trace.source),
        provider=said.get("provider", trace.provider),
        model=said.get("model", trace.model),
        workloads=_names("workload", said.get("workloads", "12")),
        customers=_names("customer", said.get("customers", "60")),
    )
    start = _start(said["start"]) if "start" in said else None
    return lambda file: iter([trace.read(file.stream, assign, start=start, now=now)])


def _names(what: str, said: str) -> tuple[str, ...]:
    """`3` is three made-up names; `a,b,c` are three given ones."""
    if said.isdigit() and 0 < int(said) <= 100_000:
        return tuple(f"{what}-{n:0{len(said)}d}" for n in range(1, int(said) + 1))
    names = tuple(name.strip() for name in said.split(","))
    if said.lstrip("-").isdigit() or not all(names):
        raise SpendError(f"--{what}s {said}: give a number from 1 to 100000, or names such as a,b,c")
    return names


def _start(said: str) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=int(str(CONVERTERS["time"]("--start", said))))
    except (ValueError, OverflowError) as exc:
        raise SpendError(str(exc)) from exc


def _readable(file: Input, read: Callable[[Input], Iterator[Portion]]) -> Iterator[Portion]:
    try:
        yield from read(file)
    except (EOFError, OSError, zlib.error) as exc:
        raise SpendError(f"{file.name}: is damaged or cut off ({exc}); what stands before has been sent") from exc
    except SpendError as exc:
        raise SpendError(f"{file.name}: {exc}") from exc


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True, quiet=quiet),
        transient=True,
    )
