"""What is gathered of a partition until a batch is due: records, or the columns of Kafka's batches."""

from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from faust.types import TP

from streams.record_batches import Chunk, joined
from streams.spend.records import Records

_VALUE = attrgetter("value")


class Record(Protocol):
    """What is used of a record: aiokafka's `ConsumerRecord` has it, and so has what its parser makes."""

    offset: int
    timestamp: int  # milliseconds since 1970
    key: bytes | None
    value: bytes | None


_NO_COLUMNS = Records.of([], [], [], [])


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in offset order, at least one. `epoch` counts assignments: an older batch is stale.

    Either `records` or, for a stage that wants columns, `columns`; the other is empty.
    """

    tp: TP
    last: int  # offset of its last record
    epoch: int
    records: list[Record] = field(default_factory=list)
    columns: Records = _NO_COLUMNS


class Gathered(Protocol):
    """What is gathered of a partition and not yet handed over, in offset order."""

    @property
    def count(self) -> int:
        """Records."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of their values."""
        ...

    def add(self, fetched: list[Any], first: int) -> int:
        """Take what aiokafka gave, without what lies before the offset `first`; returns the next offset."""
        ...

    def take(self, count: int, tp: TP, epoch: int) -> Batch:
        """Give away the first so many."""
        ...


class GatheredRecords:
    """Record by record: blocks, of which each is large and has headers."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self.bytes = 0

    @property
    def count(self) -> int:
        return len(self._records)

    def add(self, fetched: list[Record], first: int) -> int:
        new = fetched if fetched[0].offset >= first else [record for record in fetched if record.offset >= first]
        self._records += new
        self.bytes += _bytes(new)
        return new[-1].offset + 1 if new else first

    def take(self, count: int, tp: TP, epoch: int) -> Batch:
        taken, self._records = self._records[:count], self._records[count:]
        self.bytes -= _bytes(taken)
        return Batch(tp, taken[-1].offset, epoch, records=taken)


class GatheredColumns:
    """By the columns of Kafka's batches: events, of which each is small."""

    def __init__(self, batch_bytes: int) -> None:
        self._parts: deque[Records] = deque()
        self._batch_bytes = batch_bytes
        self.count = self.bytes = 0

    def add(self, fetched: list[Chunk], first: int) -> int:
        new = [part for records in joined(fetched) if len(part := records.beyond(first - 1))]
        self._parts += new
        self.count += sum(map(len, new))
        self.bytes += sum(part.nbytes for part in new)
        return int(new[-1].offsets[-1]) + 1 if new else first

    def take(self, count: int, tp: TP, epoch: int) -> Batch:
        taken: list[Records] = []
        left = self._batch_bytes
        while self._parts and count and left > 0:
            part = self._parts.popleft()
            if len(part) > count:
                self._parts.appendleft(part[count:])
                part = part[:count]
            taken.append(part)
            count -= len(part)
            left -= part.nbytes
            self.count -= len(part)
            self.bytes -= part.nbytes
        return Batch(tp, int(taken[-1].offsets[-1]), epoch, columns=Records.joined(taken))


def _bytes(records: list[Record]) -> int:
    return sum(map(len, filter(None, map(_VALUE, records))))
