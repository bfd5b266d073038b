"""Records that no pipeline can count: what is wrong with them, and the reason that their dead letter must give."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.sample.counts import NULL

AHEAD_US = 400 * 86_400 * 10**6  # ahead of any record's time, also when the sample is sent long after it was made
RANDOM_SIZE = 120
TEXT_SIZE = 300_000


@dataclass(frozen=True)
class Spoil:
    """A way to be wrong. `damage` makes it of an encoded event; without one the event's own values are wrong."""

    name: str
    reason: str
    share: float  # of the events
    damage: Callable[[bytes], bytes] | None = None


def _noise(value: bytes) -> bytes:
    # Starts with neither framing's magic (00, or C3 01); the same for the same event.
    return b"\x7f" + np.random.default_rng(list(value[-32:])).bytes(RANDOM_SIZE)


SPOILS: tuple[Spoil, ...] = (
    Spoil("random bytes", "undecodable", 4e-5, _noise),
    Spoil("truncated", "undecodable", 4e-5, lambda value: value[: len(value) // 2]),
    Spoil("bytes after the end", "trailing_bytes", 2e-5, lambda value: value + b"\x00tail"),
    Spoil(
        "a schema that nobody published", "unknown_schema", 2e-5, lambda value: b"\xc3\x01" + b"\x5a" * 8 + value[10:]
    ),
    Spoil("empty", "empty", 2e-5, lambda _: b""),
    Spoil("more cached than input tokens", "contradiction", 4e-5),
    Spoil("a negative count", "out_of_bounds", 2e-5),
    Spoil("a text of 300 kB", "too_large", 1e-5),
    Spoil("a year ahead of its record", "ahead_of_record", 2e-5),
)


def spoil_values(batch: pa.RecordBatch, spoilt: np.ndarray) -> pa.RecordBatch:
    """The events with the wrong values of those that are spoilt by their values."""

    given, time = batch.column("input_tokens"), batch.column("time")
    changes = {
        "cache_read_input_tokens": ("contradiction", lambda rows: pc.add(given.filter(rows), 1000)),
        "input_tokens": ("out_of_bounds", lambda rows: pc.negate(given.filter(rows))),
        "user": ("too_large", lambda _: pa.scalar("x" * TEXT_SIZE)),
        "time": ("ahead_of_record", lambda rows: pc.add(time.filter(rows), pa.scalar(AHEAD_US, pa.duration("us")))),
    }
    for name, (reason, wrong) in changes.items():
        wanted = [n for n, spoil in enumerate(SPOILS) if spoil.reason == reason and not spoil.damage]
        rows = pa.array(np.isin(spoilt, wanted))
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(
            place, batch.schema.field(name), pc.replace_with_mask(batch.column(name), rows, wrong(rows))
        )
    return batch


def damage(values: list[bytes], spoilt: np.ndarray) -> list[bytes]:
    """Encoded events with the bytes of those damaged that are spoilt as records."""
    for place in np.flatnonzero(spoilt != NULL).tolist():
        change = SPOILS[spoilt[place]].damage
        if change is not None:
            values[place] = change(values[place])
    return values
