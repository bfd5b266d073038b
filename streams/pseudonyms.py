"""Customers and users as keyed pseudonyms: what a producer writes in place of a name, and who is who until forgotten.

With SPEND_PSEUDONYMS=customer,user producers write `p-` and 32 hexadecimal digits of HMAC-SHA-256, so that no event,
block or table ever holds the name. Who is who stands on `spend.names` alone, a record a pseudonym, written by the
producer that first meets the name. What was forgotten stands on `spend.forgotten`, which bears pseudonyms and no names:
that is all a producer reads, so that none can read the names of others.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from streams import topics
from streams.compacted import Follower, put, values
from streams.errors import SpendError
from streams.settings import Settings

PSEUDONYM = re.compile(r"p-[0-9a-f]{32}")

_MOST_SEEN = 100_000  # names that a producer remembers having published; further ones are published again


@dataclass(frozen=True)
class Name:
    """Who a pseudonym stands for; `kind` is the field of the event, customer or user."""

    kind: str
    name: str


def pseudonym(kind: str, name: str, key: bytes) -> str:
    """What is written in place of a name: the same for the same field, name and key. Without the key none can tell."""
    return "p-" + hmac.new(key, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:32]


def pseudonym_key(settings: Settings) -> bytes | None:
    """The key of SPEND_PSEUDONYM_KEY; None where there is none.

    Raises:
        SpendError: it is shorter than 16 bytes.
    """
    key = settings.pseudonym_key.get_secret_value().encode()
    if key and len(key) < 16:
        raise SpendError("SPEND_PSEUDONYM_KEY: a key has 16 bytes at least, such as `openssl rand -hex 32` makes")
    return key or None


def stored_as(settings: Settings, kind: str, name: str) -> str:
    """How events bear a member of a dimension: its pseudonym where SPEND_PSEUDONYMS has the dimension, else the name.

    Raises:
        SpendError: the key is needed and not there.
    """
    if kind not in settings.pseudonyms.split(",") or not name or PSEUDONYM.fullmatch(name):
        return name
    key = pseudonym_key(settings)
    if key is None:
        raise SpendError(
            f"a {kind} is stored as a pseudonym (SPEND_PSEUDONYMS): set SPEND_PSEUDONYM_KEY, or give the pseudonym, "
            "p- and 32 digits, as `spendstream names list` shows it"
        )
    return pseudonym(kind, name, key)


class Pseudonyms:
    """A producer's side: gives pseudonyms and publishes each name the first time it is met, unless it was forgotten.

    Args:
        settings: which fields, and the key.
        publish: is given the key and value of a record of `spend.names`.

    Raises:
        SpendError: there is no key, or it is too short.
        Halt: `spend.forgotten` does not exist.
        Unreachable: the broker does not answer.
    """

    def __init__(self, settings: Settings, publish: Callable[[bytes, bytes], None]) -> None:
        key = pseudonym_key(settings)
        if key is None:
            raise SpendError("SPEND_PSEUDONYMS is set: set SPEND_PSEUDONYM_KEY too, the same for every producer")
        self.kinds = tuple(settings.pseudonyms.split(","))
        self._key = key
        self._publish = publish
        self._seen: dict[Name, str] = {}
        self._forgotten = Follower(settings, topics.FORGOTTEN, bytes)

    def of(self, kind: str, name: str) -> str:
        """The pseudonym of a name; what is a pseudonym already, and what is empty, stays as it is."""
        if not name or PSEUDONYM.fullmatch(name):
            return name
        met = Name(kind, name)
        known = self._seen.get(met)
        if known is None:
            known = pseudonym(kind, name, self._key)
            if known not in self._forgotten.values:
                self._publish(known.encode(), _record(met))
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[met] = known
        return known

    def of_all(self, kind: str, names: Iterable[str]) -> dict[str, str]:
        """The pseudonym of each name."""
        return {name: self.of(kind, name) for name in names}

    def publish_again(self) -> None:
        """Kafka did not take a name: publish each once more when it is next met."""
        self._seen.clear()

    def close(self) -> None:
        """Hear no longer of what is forgotten."""
        self._forgotten.close()


def known_names(settings: Settings) -> dict[str, Name]:
    """By pseudonym, the names that stand on `spend.names` and were not forgotten.

    Raises:
        Halt: a topic does not exist.
        Unreachable: the broker does not answer.
    """
    named = values(settings, topics.NAMES, _name)
    forgotten = values(settings, topics.FORGOTTEN, bytes)
    return {key: name for key, name in named.items() if key not in forgotten}


def pseudonyms_of(settings: Settings, kind: str, name: str) -> set[str]:
    """The pseudonyms of a name: those on `spend.names`, also of an earlier key, and that of SPEND_PSEUDONYM_KEY.

    Raises as `known_names` does, and SpendError where the key is too short.
    """
    key = pseudonym_key(settings)
    found = {known for known, who in known_names(settings).items() if who == Name(kind, name)}
    return found | ({pseudonym(kind, name, key)} if key else set())


def names_to_show(settings: Settings) -> dict[str, str]:
    """By pseudonym, the names that people are shown; none without SPEND_PSEUDONYMS.

    Raises as `known_names` does.
    """
    return {key: known.name for key, known in known_names(settings).items()} if settings.pseudonyms else {}


def forget(settings: Settings, pseudonyms: Collection[str]) -> None:
    """Mark pseudonyms as forgotten, so that no producer publishes their names again, and remove the names.

    Called again some seconds later it takes out what a producer published meanwhile, which had not yet heard. The
    broker takes a removed name out of its files only when a later record has begun another file: the second call
    writes one.

    Raises:
        Halt: a topic does not exist.
        Unreachable: the broker did not acknowledge it.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = values(settings, topics.FORGOTTEN, bytes)
    put(settings, topics.FORGOTTEN, {key: json.dumps({"at": now}).encode() for key in pseudonyms if key not in before})
    came_back = [key for key in values(settings, topics.NAMES, bytes) if key in before]
    put(settings, topics.NAMES, dict.fromkeys([*pseudonyms, *came_back]))


def mentions(settings: Settings, name: str) -> list[str]:
    """Where people wrote a name themselves: `topic key` of each budget, rate and planned activity that has it."""
    found = []
    for topic in (topics.BUDGETS, topics.RATES, topics.PLANNED):
        for key, value in values(settings, topic, bytes).items():
            if name.casefold() in f"{key} {value.decode(errors='replace')}".casefold():
                found.append(f"{topic} {key}")
    return found


def _record(name: Name) -> bytes:
    return json.dumps({"kind": name.kind, "name": name.name}, ensure_ascii=False).encode()


def _name(value: bytes) -> Name:
    try:
        told = json.loads(value)
        return Name(str(told["kind"]), str(told["name"]))
    except (ValueError, TypeError, KeyError):
        raise SpendError("it is no name as producers write it") from None
