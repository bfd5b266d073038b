"""`spendstream dead-letters`"""

import json
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.codec import UnknownSchema, read_fields
from schemas.registry import writer_schemas
from schemas.wire import prefix_size
from streams import dead_letters
from streams.dead_letters import REASONS, DeadLetter
from streams.errors import SpendError
from streams.kafka import wait_for_brokers
from streams.settings import Settings, settings

app = typer.Typer(
    help="Records that could not be counted: see why, and put them back after the mend.", no_args_is_help=True
)

Reason = Annotated[str | None, typer.Option(help=f"Only this reason: {', '.join(REASONS)}.", show_default=False)]


@app.command("list")
def list_(
    reason: Reason = None,
    most: Annotated[int, typer.Option(help="Most letters shown, the latest.", min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="All of them, a JSON line each.")] = False,
) -> None:
    """List dead letters, the oldest first, and what each reason means."""
    letters = _wanted(_read(settings()), reason, [])
    if as_json:
        for letter in letters:
            print(json.dumps(_facts(letter), ensure_ascii=False))
        return
    if not letters:
        print("no dead letters")
        return
    table = Table("place", "reason", "detail", "key", "bytes", "replayed")
    for letter in letters[-most:]:
        key = (letter.key or b"").decode("utf-8", "replace")
        replayed = "yes" if letter.replayed else ""
        table.add_row(letter.place, letter.reason, letter.detail, key, f"{len(letter.value or b''):,}", replayed)
    console = Console()
    console.print(table)
    if len(letters) > most:
        console.print(f"{len(letters) - most:,} older ones are not shown: --most, or --json for all")
    for word, count in Counter(letter.reason for letter in letters).most_common():
        console.print(f"{count:,} {word}: {REASONS.get(word, 'of another release')}")


@app.command()
def show(place: Annotated[str, typer.Argument(help="PARTITION:OFFSET of the record, as `list` shows it.")]) -> None:
    """Show one dead letter: where it was, what is wrong, as much of it as can be decoded, and its bytes."""
    conf = settings()
    (letter,) = _wanted(_read(conf), None, [place])[-1:]
    for name, value in _facts(letter).items():
        print(f"{name:10} {value}")
    print()
    value = letter.value or b""
    size = prefix_size(value)
    if size:
        try:
            fields, problem = read_fields(writer_schemas(conf).find(value[:size]), value)
            print(json.dumps({k: v for k, v in fields.items() if v not in (None, {})}, indent=2, ensure_ascii=False))
            print(f"then: {problem}" if problem else "it decodes to its end")
        except UnknownSchema as exc:
            print(exc)
        print()
    for line in hexdump(value):
        print(line)


@app.command()
def replay(
    reason: Reason = None,
    place: Annotated[
        list[str] | None, typer.Option("--id", help="Only this one, PARTITION:OFFSET; may be given several times.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Put dead letters back on spend.usage, as they were, after what was wrong has been mended.

    Nothing is counted twice: a letter was never counted, and a second replay of it is dropped as a repeat. Letters that
    were replayed before are left alone unless --id names them. What still cannot be counted becomes a dead letter anew.
    """
    conf = settings()
    letters = _wanted(_read(conf), reason, place or [])
    before = [] if place else [letter for letter in letters if letter.replayed]
    empty = [letter for letter in letters if not letter.value]
    chosen = [letter for letter in letters if letter.value and (place or not letter.replayed)]
    if not dry_run:
        dead_letters.replay(conf, chosen)
    done = "would be put back" if dry_run else "put back on spend.usage"
    print(f"{len(chosen):,} {done}")
    for word, count in Counter(letter.reason for letter in chosen).most_common():
        print(f"  {count:,} {word}")
    if before:
        print(f"{len(before):,} were replayed before: left alone")
    if empty:
        print(f"{len(empty):,} have no bytes: nothing to put back")


def _read(conf: Settings) -> list[DeadLetter]:
    wait_for_brokers(conf)
    return dead_letters.read_all(conf)


def _wanted(letters: list[DeadLetter], reason: str | None, places: list[str]) -> list[DeadLetter]:
    if reason is not None and reason not in REASONS:
        raise SpendError(f"--reason {reason}: there is no such reason, only {', '.join(REASONS)}")
    if missing := set(places) - {letter.place for letter in letters} - {letter.coordinates for letter in letters}:
        raise SpendError(f"no dead letter at {', '.join(sorted(missing))}: `spendstream dead-letters list` shows them")
    return [
        letter
        for letter in letters
        if reason in (None, letter.reason) and (not places or {letter.place, letter.coordinates} & set(places))
    ]


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "place": letter.place,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "log_id": letter.log_id,
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "bytes": None if letter.value is None else len(letter.value),
        "replayed": letter.replayed,
    }


def hexdump(value: bytes, most: int = 1024) -> list[str]:
    """Lines of 16 bytes: position, hexadecimal digits, text. At most `most` bytes, and then how many are left."""
    lines = []
    for at in range(0, min(len(value), most), 16):
        part = value[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):47}  {text}")
    if len(value) > most:
        lines.append(f"... {len(value) - most:,} more bytes")
    return lines
