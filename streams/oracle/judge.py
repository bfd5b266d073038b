"""The oracle's judgement of a partition: accepted with its cost, a repeat, or a dead letter with its reason."""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from schemas.priced import COSTS, FEW_VALUES
from streams.oracle.check import TOKEN_COUNTS, check
from streams.oracle.decode import DeadLetter, Decoder
from streams.oracle.price import CostOutOfBounds, OraclePrices

NULL = -(2**63)  # stands for null in columns of whole numbers
# What is compared of each accepted event; `fields` stands for all of `FIELDS` and the model.
COLUMNS = ("time", "input_tokens", "output_tokens", "fields", "status", *COSTS)
FIELDS: tuple[str, ...] = (*FEW_VALUES, "user", *(name for name in TOKEN_COUNTS if name not in COLUMNS))
"""Whom an event's spend belongs to, and what else it counts. A field that a later release adds does not belong here:
rows of workers before it lack what newer producers sent."""
ABSENT, BETWEEN = "\x1e", "\x1f"  # in the text that `fields` is the digest of
_NO_COSTS = (NULL,) * len(COSTS)


class Accepted:
    """The identities that one partition accepted, and where: plain dicts.

    Args:
        horizon: offsets within which a repeat is dropped.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._turned = 0
        self._older: dict[tuple[str, str], int] = {}
        self._newer: dict[tuple[str, str], int] = {}

    def is_repeat(self, source: str, event_id: str, offset: int) -> bool:
        """Whether the identity was accepted within the horizon before `offset`; if not, it is accepted there."""
        key = (source, event_id)
        at = self._newer.get(key)
        if at is None:
            at = self._older.get(key)
        if at is not None and 0 < offset - at <= self._horizon:
            return True
        self.remember(source, event_id, offset)
        return False

    def remember(self, source: str, event_id: str, offset: int) -> None:
        """The identity was accepted at `offset`, which is beyond all before."""
        if offset - self._turned > self._horizon:  # all that `_older` holds is beyond the horizon
            self._older, self._newer, self._turned = self._newer, {}, offset
        self._newer[source, event_id] = offset


@dataclass
class Expected:
    """What must have become of a stretch of one partition.

    Attributes:
        offsets: int64 of shape (n,), ascending: the accepted events.
        values: int64 of shape (n, len(COLUMNS)): times in microseconds since 1970, counts, digests of `FIELDS`,
            `oracle.price.STATUS`, costs in picodollars; `NULL` where there is none.
        kinds: of each accepted event its provider and model.
        duplicates: offsets of dropped repeats.
        dead_letters: offsets by reason.
        records: all records of the stretch.
    """

    offsets: np.ndarray
    values: np.ndarray
    kinds: list[tuple[str, str]]
    duplicates: np.ndarray
    dead_letters: dict[str, np.ndarray]
    records: int

    @property
    def last(self) -> int:
        """The greatest offset judged; -1 without any."""
        return max(
            (int(o[-1]) for o in (self.offsets, self.duplicates, *self.dead_letters.values()) if len(o)), default=-1
        )

    def beyond(self, offset: int) -> int:
        """How many records lie beyond an offset."""
        return sum(int((o > offset).sum()) for o in (self.offsets, self.duplicates, *self.dead_letters.values()))

    def up_to(self, offset: int) -> "Expected":
        """The accepted events at or below an offset."""
        count = int(np.searchsorted(self.offsets, offset, side="right"))
        return replace(self, offsets=self.offsets[:count], values=self.values[:count], kinds=self.kinds[:count])


class Oracle:
    """Judges one partition's records in offset order.

    Args:
        decoder: reads records.
        prices: prices events.
        horizon: offsets within which a repeat is dropped.
        unknown: offsets whose schema nobody knew as they were decided. A schema that is registered later does not
            change that: the record is counted when it is replayed, at another offset.
    """

    def __init__(self, decoder: Decoder, prices: OraclePrices, horizon: int, unknown: Container[int] = ()) -> None:
        self._unknown = unknown
        self.accepted = Accepted(horizon)
        self._decoder = decoder
        self._prices = prices
        self._begin()

    def _begin(self) -> None:
        self._offsets: list[int] = []
        self._values: list[tuple[int, ...]] = []
        self._kinds: list[tuple[str, str]] = []
        self._duplicates: list[int] = []
        self._dead: dict[str, list[int]] = {}
        self.records = 0

    def judge(self, offset: int, time_us: int, value: bytes | None) -> None:
        """Take the next record: its offset, Kafka timestamp (microseconds, negative: none) and value."""
        self.records += 1
        try:
            if offset in self._unknown:
                raise DeadLetter("unknown_schema")
            reading = self._decoder.read(value)
            check(reading, time_us)
            event = reading.event
            status, costs = self._prices.price(event)
        except DeadLetter as dead:
            self._dead.setdefault(str(dead), []).append(offset)
            return
        except CostOutOfBounds:
            self._dead.setdefault("cost_out_of_bounds", []).append(offset)
            return
        if self.accepted.is_repeat(event["source"], event["id"], offset):
            self._duplicates.append(offset)
            return
        inputs, outputs = event["input_tokens"], event["output_tokens"]
        self._offsets.append(offset)
        self._values.append(
            (
                event["time"],
                NULL if inputs is None else inputs,
                NULL if outputs is None else outputs,
                _digest(event),
                status,
                *(_NO_COSTS if costs is None else costs),
            )
        )
        self._kinds.append((event["provider"], event["response_model"] or event["request_model"]))

    def cut(self) -> Expected:
        """What was judged since the last cut."""
        expected = Expected(
            offsets=np.array(self._offsets, dtype=np.int64),
            values=np.array(self._values, dtype=np.int64).reshape(-1, len(COLUMNS)),
            kinds=self._kinds,
            duplicates=np.array(self._duplicates, dtype=np.int64),
            dead_letters={reason: np.array(offsets, dtype=np.int64) for reason, offsets in self._dead.items()},
            records=self.records,
        )
        self._begin()
        return expected


def _digest(event: Mapping[str, Any]) -> int:
    """Of the model and `FIELDS`: the first eight bytes of MD5 (a comparison, no protection), as a signed number."""
    values = [event["response_model"] or event["request_model"], *map(event.__getitem__, FIELDS)]
    text = BETWEEN.join([ABSENT if value is None else str(value) for value in values])
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "little", signed=True)
