"""What becomes of each record of a batch: decode, check, price, drop repeats, and one block that says so. Pure.

Every offset between the mark and the batch's end gets exactly one decision: a row, a dropped repeat, or a dead letter.
An event enters the deduplication index only when it has become a row, so that a dead letter that is replayed after a
mend is not a duplicate of itself.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.codec import WriterSchemas
from schemas.priced import COSTS
from streams import blocks
from streams.blocks import Block, Header
from streams.errors import Halt
from streams.partitioner import misrouted
from streams.spend.check import check
from streams.spend.content import without_content
from streams.spend.decode import Poison, decode
from streams.spend.dedupe import DedupIndex
from streams.spend.fingerprint import fingerprints
from streams.spend.price import COLUMNS, price
from streams.spend.rates import RateTable
from streams.spend.records import Records


class PoisonGuard:
    """Halts when too large a share of a partition's last records became dead letters.

    A release that cannot read what producers send must not empty the log into the dead-letter topic.

    Args:
        window: records looked back on.
        share: greatest share of dead letters among them, 0 to 1.
    """

    def __init__(self, window: int, share: float) -> None:
        self._window, self._share = window, share
        self._past: deque[tuple[int, int]] = deque()

    def remember(self, records: int, dead: int) -> None:
        """Take in a batch that was decided before, by this or an earlier owner."""
        self._past.append((records, dead))
        total = sum(n for n, _ in self._past)
        while total - self._past[0][0] >= self._window:
            total -= self._past.popleft()[0]

    def observe(self, records: int, dead: int, partition: int) -> None:
        """Take in a batch that is about to be published.

        Raises:
            Halt: the share is exceeded over a full window.
        """
        self.remember(records, dead)
        total, bad = (sum(column) for column in zip(*self._past, strict=True))
        if total >= self._window and bad > self._share * total:
            raise Halt(
                f"spend.usage partition {partition}: {bad} of the last {total} records cannot be counted, more than "
                f"SPEND_POISON_SHARE={self._share:g} allows. Find out what changed (spendstream dead-letters list); "
                "if they are to become dead letters, set SPEND_POISON_SHARE=1"
            )


@dataclass
class PartitionState:
    """What a price agent knows of a partition, all of it read from the partition's own blocks."""

    log_id: str
    block_log_id: str
    partition: int
    partitions: int
    mark: int  # greatest source offset that is decided
    next_block: int  # offset that the next block will take in spend.priced
    index: DedupIndex
    poison: PoisonGuard


@dataclass(frozen=True)
class DecidedDeadLetter:
    """A record that cannot be counted: its place in the batch, and why."""

    position: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Decision:
    """The block, and the records that became dead letters; how many rows lack a price, or a part of it, or were cut."""

    block: Block
    dead_letters: list[DecidedDeadLetter] = field(default_factory=list)
    unpriced: int = 0
    partial: int = 0
    cut: int = 0


def decide(records: Records, state: PartitionState, writers: WriterSchemas, table: RateTable) -> Decision:
    """Decide a batch.

    Args:
        records: a batch that begins beyond `state.mark`, not empty.
        state: its partition's; the index takes in what is accepted, the mark is left to the caller to move when the
            block has been acknowledged.
        writers: the schemas of the wire.
        table: the rates in force.

    Raises:
        Halt: too much poison.
    """
    decoded = decode(records.values, writers)
    events, positions, poison = decoded.batch, decoded.positions, decoded.poison
    keep, refused = check(events, records.times_us[positions])
    poison += [Poison(int(positions[p.position]), p.reason, p.detail) for p in refused]
    rows = np.flatnonzero(keep)  # of the decoded events; all columns are gathered once, at the end

    priced = price(pl.DataFrame(_only(rows, events.select(COLUMNS))), table)
    problem = priced["problem"]
    if problem.null_count() < len(problem):
        fine = problem.is_null().to_numpy()
        poison += [
            Poison(int(positions[rows[r]]), problem[int(r)], "its cost is beyond what one event may cost")
            for r in np.flatnonzero(~fine)
        ]
        rows, priced = rows[fine], priced.filter(pl.Series(fine))
    state.poison.observe(len(records), len(poison), state.partition)

    offsets = records.offsets[positions[rows]]
    identities = _only(rows, events.select(["source", "id"]))
    accepted = state.index.accept(fingerprints(*identities.columns), offsets)
    repeats = offsets[~accepted]
    if len(repeats):
        rows, offsets, priced = rows[accepted], offsets[accepted], priced.filter(pl.Series(accepted))

    events, cut = without_content(_only(rows, blocks.encode_texts(events)))
    batch = blocks.assemble(events, _added(priced, table.version, state, offsets, records.times_us[positions[rows]]))
    poison.sort(key=lambda p: p.position)
    header = Header(
        log_id=state.log_id,
        block_log_id=state.block_log_id,
        source_partition=state.partition,
        first=state.mark + 1,
        last=int(records.offsets[-1]),
        rows=batch.num_rows,
        price_version=table.version,
        duplicates=repeats,
        dead_letters=_by_reason(poison, records.offsets),
        misrouted=misrouted(records.keys, state.partition, state.partitions),
        event_time_max=_latest(events),
    )
    status = priced["pricing_status"]
    return Decision(
        Block(header, blocks.write(batch)),
        [DecidedDeadLetter(p.position, p.reason, p.detail) for p in poison],
        unpriced=int((status == "unpriced").sum()),
        partial=int((status == "partial").sum()),
        cut=cut,
    )


def _only(rows: np.ndarray, events: pa.RecordBatch) -> pa.RecordBatch:
    """Some rows, ascending, of a batch; the batch itself when that is all of them."""
    if len(rows) == events.num_rows:
        return events
    chosen = np.zeros(events.num_rows, bool)
    chosen[rows] = True
    return events.filter(pa.array(chosen))


def _added(
    priced: pl.DataFrame, version: str, state: PartitionState, offsets: np.ndarray, times_us: np.ndarray
) -> dict[str, pa.Array]:
    """The pricing and coordinate columns of a block, as Arrow arrays."""
    n = len(offsets)
    text = ("model", "pricing_status", "rate_id", "unpriced_units")
    return {
        **{name: _one_chunk(priced[name].to_arrow().cast(pa.string())) for name in text},
        "price_version": blocks.constant(version, n),
        **{name: blocks.money(_one_chunk(priced[name].to_arrow())) for name in COSTS},
        "record_time": pa.array(times_us, pa.timestamp("us")),
        "log_id": blocks.constant(state.log_id, n),
        "source_partition": pa.array(np.full(n, state.partition, np.int32)),
        "source_offset": pa.array(offsets, pa.int64()),
    }


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _by_reason(poison: Sequence[Poison], offsets: np.ndarray) -> dict[str, np.ndarray]:
    reasons = sorted({p.reason for p in poison})
    return {reason: offsets[[p.position for p in poison if p.reason == reason]] for reason in reasons}


def _latest(events: pa.RecordBatch) -> int:
    if not events.num_rows:
        return 0
    return int(np.asarray(events.column("time").cast(pa.int64())).max())
