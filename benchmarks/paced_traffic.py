"""Traffic that is made before it is due, and sent on time: each event at the moment that is its `time`.

python -m benchmarks.paced_traffic --rate 20000 --seconds 25 --settle 5 --marks 100 --first 0

Calls are those of `marked_traffic`; their moments are drawn evenly, as those of callers who know nothing of each other.
A sender that falls behind sends late, and says how late; `time` and `emitted_at` stay what was due, so that a wait is
counted from there. Lines of a name and a number are printed: `begins` and each marked call's customer, microseconds
since 1970; `late`, the most that an event was sent after its moment, microseconds; `processor`, nanoseconds of sending
an event; and `sent`, how many.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.marked_traffic import Members, mark, marked, with_column
from schemas.codec import encode_batch
from streams.event_columns import record_keys
from streams.kafka import wait_for_brokers
from streams.producer import UsageProducer
from streams.sample.live import LiveTraffic
from streams.settings import settings

PIECE_SECONDS = 0.2  # of traffic that is drawn together; a marked call in each, at the most
TICK_SECONDS = 0.01
MAKING_MICROS, MAKING_SECONDS = 20, 4.0  # an event, and in all: what making may take


def pieces(seed: int, begin: datetime, rate: float, seconds: float) -> Iterator[pa.RecordBatch]:
    """Events of `seconds` from `begin` on, each emitted at its `time`, in order."""
    traffic, members = LiveTraffic(seed, begin), Members(seed)
    count = round(seconds / PIECE_SECONDS)
    for number in range(count):
        since = begin + timedelta(seconds=number * PIECE_SECONDS)
        until = since + timedelta(seconds=PIECE_SECONDS)
        batch = members.spread(traffic.events(since, until, round(rate * PIECE_SECONDS)))
        yield with_column(batch, "emitted_at", batch.column("time"))


def send(rate: float, seconds: float, settle: float, marks: int, first: int) -> None:
    """Make everything, wait for the moment, and send; marks come between `settle` and the end."""
    conf = settings()
    wait_for_brokers(conf)
    making = MAKING_SECONDS + rate * seconds * MAKING_MICROS / 1e6
    begin = datetime.now(UTC) + timedelta(seconds=making)
    due_at = np.linspace(settle, seconds, marks, endpoint=False)
    keys: list[bytes] = []
    values: list[bytes] = []
    due: list[np.ndarray] = []
    told = 0
    with UsageProducer(conf) as producer:
        for number, piece in enumerate(pieces(71 + first, begin, rate, seconds)):
            batch = piece
            if told < marks and due_at[told] <= number * PIECE_SECONDS + 1e-6:
                batch, customer = mark(piece, first + told), marked(first + told)
                told += 1
                at = pc.index(batch.column("customer"), customer).as_py()
                print(customer, batch.column("time").cast("int64")[at].as_py(), flush=True)
            keys += record_keys(batch)
            values += encode_batch(batch, producer.prefix)
            due.append(batch.column("time").cast("int64").to_numpy())
        if datetime.now(UTC) > begin:
            raise SystemExit(f"making the events took more than {making:.0f} s")
        print("begins", int(begin.timestamp() * 1e6), flush=True)
        late, used = _on_time(producer, keys, values, np.concatenate(due))
    print("late", int(late), flush=True)
    print("processor", int(used / len(keys) * 1e9), flush=True)
    print("sent", len(keys), flush=True)


def _on_time(producer: UsageProducer, keys: list[bytes], values: list[bytes], due: np.ndarray) -> tuple[float, float]:
    """The most microseconds that an event was sent late, and processor seconds in all."""
    used, sent, late = 0.0, 0, 0.0
    while sent < len(keys):
        now = time.time() * 1e6
        stop = int(np.searchsorted(due, now, side="right"))
        if stop > sent:
            began = time.process_time()
            used = used or -began
            late = max(late, now - due[sent])
            producer.send_many(keys[sent:stop], values[sent:stop])
            sent = stop
        time.sleep(TICK_SECONDS)
    return late, used + time.process_time()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paced_traffic", description=__doc__)
    parser.add_argument("--rate", type=float, required=True, help="events a second")
    parser.add_argument("--seconds", type=float, required=True, help="how long, the settling included")
    parser.add_argument("--settle", type=float, required=True, help="seconds before the first marked call")
    parser.add_argument("--marks", type=int, required=True, help="marked calls in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first marked call (0)")
    args = parser.parse_args()
    send(args.rate, args.seconds, args.settle, args.marks, args.first)
    return 0


if __name__ == "__main__":
    sys.exit(main())
