"""`spendstream forget`"""

import time
from typing import Annotated

import typer

from streams.errors import SpendError
from streams.pseudonyms import PSEUDONYM, forget, known_names, mentions, pseudonyms_of
from streams.settings import settings
from streams.topics import SEGMENT_SECONDS

_CANNOT = """It cannot take back:
- events of before SPEND_PSEUDONYMS was set: they bear the name itself, in Kafka and ClickHouse, until they expire;
- what was exported or sent on: reports, alerts in chat, back-ups of spend.names.
Whoever has SPEND_PSEUDONYM_KEY can tell whether a name that they guess is behind a pseudonym."""


def command(
    *,
    customer: Annotated[str | None, typer.Option(help="Forget this customer's name.")] = None,
    user: Annotated[str | None, typer.Option(help="Forget this user's name.")] = None,
    pseudonym: Annotated[
        str | None, typer.Option("--pseudonym", help="Forget whom it stands for: p- and 32 digits.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget who a pseudonym stands for, for ever. What was spent stays, under the pseudonym.

    The name goes from spend.names, and producers are told not to publish it again: further calls of the same customer
    or user are counted under the same pseudonym, without a name. No replay brings it back, because no event has it.
    """
    conf = settings()
    if sum(said is not None for said in (customer, user, pseudonym)) != 1:
        raise SpendError("say whom to forget: one of --customer, --user or --pseudonym")
    if pseudonym is not None:
        if not PSEUDONYM.fullmatch(pseudonym):
            raise SpendError(f"--pseudonym {pseudonym}: a pseudonym is p- and 32 hexadecimal digits")
        known = known_names(conf).get(pseudonym)
        name, found = known.name if known else None, {pseudonym}
    else:
        kind, name = ("customer", str(customer)) if customer is not None else ("user", str(user))
        found = pseudonyms_of(conf, kind, name)
        if not found:
            raise SpendError(
                f"no {kind} {name!r} is on spend.names. If a producer may yet publish it, set SPEND_PSEUDONYM_KEY: "
                "then its pseudonym is known"
            )
    texts = mentions(conf, name) if name else []
    who = f"{name} ({', '.join(sorted(found))})" if name else ", ".join(found)
    if not yes:
        typer.confirm(f"Forget {who}? Nobody can undo it.", abort=True)
    forget(conf, found)
    print(f"forgotten; in {SEGMENT_SECONDS + 1} s once more, for what producers publish meanwhile ...", flush=True)
    time.sleep(SEGMENT_SECONDS + 1)
    forget(conf, found)
    print(f"{', '.join(sorted(found))}: its name is gone from spend.names; the broker's files lose it within minutes.")
    print("Sums are as they were, under the pseudonym; producers do not publish the name again.")
    if texts:
        print("People wrote the name themselves; change or delete these:", *texts, sep="\n- ")
    print(_CANNOT)
