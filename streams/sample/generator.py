"""Sample traffic: five weeks of an invented organisation's usage events, with everything that real life includes.

    sample = generate(seed=1, end=now)
    for keys, values in sample.encoded():
        ...  # send them, in this order
    sample.truth  # what the pipeline must find

The same (seed, end, events, days) gives the same events to the byte.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.codec import encode_batch
from streams.event_columns import EPOCH, record_keys
from streams.sample.arrivals import DAY_US, Demand
from streams.sample.calls import Calls, draw_calls, usage_events
from streams.sample.counts import CAN_FAIL, FAILED, NULL, OK
from streams.sample.kinds import KINDS
from streams.sample.organisation import Organisation, organisation
from streams.sample.spoil import SPOILS, damage, spoil_values
from streams.sample.story import Told, runaway_calls, runaway_count, runaway_start, tell

SECOND_US = 10**6


@dataclass(frozen=True)
class Truth:
    """How many of each there are: what a pipeline that loses and doubles nothing must find."""

    records: int  # sent: events + duplicates + all dead letters
    events: int  # to be counted, each once
    duplicates_soon: int  # the same source:id again within a minute
    duplicates_later: int  # ... one to ten days later
    dead_letters: dict[str, int]  # by the reason their dead letter must give
    spoilt: dict[str, int]  # the same records by what is wrong with them
    kinds: dict[str, int]  # events by kind (streams/sample/kinds.py); an event may be of several
    story: Told

    @property
    def duplicates(self) -> int:
        return self.duplicates_soon + self.duplicates_later


@dataclass(frozen=True)
class Sample:
    """Traffic in the order of its sending.

    `events` has a row for each distinct event, in the order of emission, the spoilt ones included (`spoilt`: index into
    SPOILS or NULL). `order` has the row of each record that is sent: duplicates name a row again.
    """

    events: pa.RecordBatch  # schema usage_event_arrow()
    spoilt: np.ndarray
    order: np.ndarray
    truth: Truth

    def encoded(self, size: int = 20_000, prefix: bytes | None = None) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Keys and values of the records, `size` at a time; prefix as in `schemas.codec.encode_batch`."""
        for start in range(0, len(self.order), size):
            rows = self.order[start : start + size]
            batch = self.events.take(pa.array(rows))
            yield record_keys(batch), damage(encode_batch(batch, prefix), self.spoilt[rows])


def generate(*, seed: int, end: datetime, events: int = 250_000, days: int = 35) -> Sample:
    """Traffic of the `days` days that end at `end`.

    Args:
        seed: another seed, other traffic of the same organisation.
        end: an instant with a time zone; nothing is emitted after it, save what is spoilt by being ahead.
        events: number of events to be counted; duplicates and spoilt records come on top.
        days: length of the traffic.
    """
    org = organisation()
    end_us = (end - EPOCH) // timedelta(microseconds=1)
    rng = np.random.default_rng([seed, end_us, events, days])
    retried = round(org.faults.retried * events)
    began = runaway_start(org, end)
    loops = runaway_count(org, began, end, days, events)
    arrivals = Demand(org, end - timedelta(days=days), days, sized_at=end).spread(rng, events - retried - loops)
    calls = draw_calls(org, rng, arrivals)
    calls = calls.then(_retries(rng, calls, _fail(org, rng, calls, round(org.faults.failed * events), end_us), retried))
    _delay(rng, calls, round(org.faults.late * events), end_us)
    calls = calls.then(_spoilt_copies(org, rng, calls, events))
    if loops:
        ended = rng.integers(0, org.story.runaway.minutes * 60 * SECOND_US, loops)
        calls = calls.then(runaway_calls(org, rng, (began - EPOCH) // timedelta(microseconds=1) + ended))
    calls = calls.in_order_of_emission()
    instance = rng.bytes(3).hex()
    batch = numbered(spoil_values(usage_events(org, rng, calls, instance), calls.spoilt), {})
    emitted = calls.time + calls.lag_us
    good = np.flatnonzero(calls.spoilt == NULL)
    wait = rng.integers(SECOND_US // 2, 60 * SECOND_US, len(good))
    soon = _again(rng, good, emitted[good] + wait, round(org.faults.sent_again_soon * events), end_us)
    wait = rng.integers(DAY_US, 10 * DAY_US, len(good))
    later = _again(rng, good, emitted[good] + wait, round(org.faults.sent_again_later * events), end_us)
    again, sent = (np.concatenate(pair) for pair in zip(soon, later, strict=True))
    order = np.concatenate([np.arange(len(emitted)), again])[np.argsort(np.concatenate([emitted, sent]), kind="stable")]
    spoils = np.bincount(calls.spoilt[calls.spoilt != NULL], minlength=len(SPOILS)).tolist()
    reasons = sorted({spoil.reason for spoil in SPOILS})
    truth = Truth(
        records=len(order),
        events=len(good),
        duplicates_soon=len(soon[0]),
        duplicates_later=len(later[0]),
        dead_letters={r: sum(n for spoil, n in zip(SPOILS, spoils, strict=True) if spoil.reason == r) for r in reasons},
        spoilt={spoil.name: n for spoil, n in zip(SPOILS, spoils, strict=True)},
        kinds=count_kinds(batch.take(pa.array(good))),
        story=tell(org, began, loops),
    )
    return Sample(batch, calls.spoilt, order, truth)


def count_kinds(batch: pa.RecordBatch) -> dict[str, int]:
    """How many of the events are of each kind."""
    plain = batch.select([f.name for f in batch.schema if not pa.types.is_map(f.type)])
    frame = pl.DataFrame(pl.from_arrow(plain))
    counted = frame.select(
        pl.sql_expr(condition).fill_null(False).sum().alias(kind) for kind, condition in KINDS.items()
    )
    return {kind: int(n) for kind, n in counted.row(0, named=True).items()}


def numbered(batch: pa.RecordBatch, sent: dict[str, int]) -> pa.RecordBatch:
    """The events with `source_seq`, which numbers each source's events from 0 without a gap.

    `sent` has how many events each source has numbered before; it is brought up to date.
    """
    sources = pl.DataFrame({"source": pl.from_arrow(batch.column("source"))})
    before = pl.col("source").replace_strict(sent, default=0, return_dtype=pl.Int64)
    numbers = sources.select((pl.int_range(pl.len(), dtype=pl.Int64).over("source") + before).alias("source_seq"))
    for source, count in sources.group_by("source").len().iter_rows():
        sent[source] = sent.get(source, 0) + count
    place = batch.schema.get_field_index("source_seq")
    return batch.set_column(place, batch.schema.field("source_seq"), numbers["source_seq"].to_arrow())


def _sound_chats(org: Organisation, calls: Calls) -> np.ndarray:
    chats = np.array([variant.call.shape in CAN_FAIL for variant in org.variants])[calls.variant]
    return chats & (calls.fate == OK)


def _fail(org: Organisation, rng: np.random.Generator, calls: Calls, count: int, end_us: int) -> np.ndarray:
    """Lets `count` calls fail, in place; gives their rows."""
    rows = _some(rng, np.flatnonzero(_sound_chats(org, calls) & (calls.time < end_us - 60 * SECOND_US)), count)
    calls.fate[rows] = FAILED
    return rows


def _retries(rng: np.random.Generator, calls: Calls, failed: np.ndarray, count: int) -> Calls:
    """Second attempts at `count` of the failed calls, seconds later."""
    rows = failed[:count]
    again = calls.take(rows)
    wait = rng.integers(SECOND_US, 20 * SECOND_US, count)
    return replace(again, time=again.time + wait, fate=np.full(count, OK), attempt=again.attempt + 1, first=rows)


def _delay(rng: np.random.Generator, calls: Calls, count: int, end_us: int) -> None:
    """Lets `count` events arrive one to six days after their call, in place; none after the end."""
    lag = rng.integers(DAY_US, 6 * DAY_US, len(calls))
    # A retry follows its failed call, also in the order of emission.
    rows = _some(rng, np.flatnonzero((calls.time + lag <= end_us) & (calls.fate == OK) & (calls.attempt == 1)), count)
    calls.lag_us[rows] = lag[rows]
    np.minimum(calls.lag_us, end_us - calls.time, out=calls.lag_us)


def _spoilt_copies(org: Organisation, rng: np.random.Generator, calls: Calls, events: int) -> Calls:
    """Calls like some of these, whose records will be spoilt: at least one of each kind."""
    kinds = np.repeat(np.arange(len(SPOILS)), [max(1, round(spoil.share * events)) for spoil in SPOILS])
    rows = _some(rng, np.flatnonzero(_sound_chats(org, calls) & (calls.attempt == 1)), len(kinds))
    return replace(calls.take(rows), spoilt=kinds)


def _again(
    rng: np.random.Generator, rows: np.ndarray, when: np.ndarray, count: int, end_us: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count` of the rows, each sent again at its `when`; none after the end."""
    places = _some(rng, np.flatnonzero(when <= end_us), count)
    return rows[places], when[places]


def _some(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    return rng.permutation(rows)[:count]
