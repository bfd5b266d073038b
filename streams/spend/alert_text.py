"""The words of alerts: members, times, spans and shares as a person in a chat reads them. Pure."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from streams.spend.alert_document import Instant, instant
from streams.spend.change_split import Share, Split
from streams.spend.dimensions import GLOBAL, is_other
from streams.spend.money import shown

_LONGEST = 80
CAUSE_NAMES = {
    "volume": "number of calls",
    "model_mix": "choice of models",
    "tier_mix": "choice of service tiers",
    "tokens_per_call": "tokens per call",
    "cache": "caching",
    "price": "prices",
}


def one_line(text: str) -> str:
    """Names come from producers: without line breaks or control characters, and not endless."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"


def who(dimension: str, member: str) -> str:
    """`customer acme`, `all AI usage`, `calls without a customer`, `the other customers`."""
    if dimension == GLOBAL:
        return "all AI usage"
    if member == "":
        return f"calls without {'an' if dimension[0] in 'aei' else 'a'} {dimension}"
    if is_other(member):
        return f"the other {dimension}s"
    return f"{dimension} {one_line(member)}"


def moment(at: Instant, zone: tzinfo) -> str:
    """`2026-11-27 05:51 UTC`, in the zone."""
    return f"{instant(at).astimezone(zone):%Y-%m-%d %H:%M %Z}"


def span(seconds: int) -> str:
    """`45 seconds`, `25 minutes`, `3 hours`, `2 days`: in the largest unit that two of fit in."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds == size):
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def counted(number: int, noun: str) -> str:
    """`1 call`, `1,234 calls`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def signed(picos: int) -> str:
    """`+$12.00`, `-$3.00`."""
    return f"{'+' if picos > 0 else ''}{shown(picos)}"


def times(actual: int, expected: int) -> str:
    """`12.3 times the expected`, or what stands for it when nothing was expected."""
    if expected <= 0:
        return "where nothing was expected"
    tenths = actual * 10 // expected
    return f"{tenths // 10:,}.{tenths % 10} times the expected"


def explained(shares: Sequence[Share]) -> str:
    """`model gpt-5 (82%), customer acme (60%)`"""
    return ", ".join(f"{who(share.dimension, share.member)} ({share.share_ppm // 10_000}%)" for share in shares)


def causes(split: Split) -> str:
    """The causes that moved something, the largest first: `number of calls +$100.00, caching -$3.00`"""
    moved = sorted(((part, cause) for cause, part in split.parts.items() if part), key=lambda p: (-abs(p[0]), p[1]))
    return ", ".join(f"{CAUSE_NAMES[cause]} {signed(part)}" for part, cause in moved)


def lines(parts: Iterable[str]) -> str:
    """Those that say something, one a line."""
    return "\n".join(part for part in parts if part)
