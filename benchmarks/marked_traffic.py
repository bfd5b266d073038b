"""Live traffic of very many customers and users, with marked calls in it that each cross a budget of their own.

python -m benchmarks.marked_traffic --rate 5000 --seconds 40 --marks 100

Sends the sample organisation's calls, as `streams.sample.live` does, but those of 5,000 customers and 20,000 users, of
whom few make most calls. Evenly over the time, a call of a customer `marked-<n>` comes that costs dollars. The end of
its emission, `emitted_at` of the event, is printed as a line `marked-<n> <microseconds since 1970>`.
"""

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.codec import encode_batch
from streams.event_columns import record_keys
from streams.kafka import wait_for_brokers
from streams.producer import UsageProducer
from streams.sample.live import LiveTraffic
from streams.settings import settings

CUSTOMERS, USERS = 5_000, 20_000
MARKED_TOKENS, MARKED_MODEL = 1_000_000, "gpt-5-mini"  # of output, at $2: far over the limit, also in a batch
TICK_SECONDS = 0.05
SETTLE_SECONDS = 6.0  # before the first mark

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def customer(number: int) -> str:
    """The name of one of the customers."""
    return f"customer-{number:05}"


def user(number: int) -> str:
    """The pseudonym of one of the users."""
    return f"{number:016x}"


def marked(number: int) -> str:
    """The customer of a marked call."""
    return f"marked-{number:03}"


class Members:
    """Replaces the sample's members by many more."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._customers = pa.array([customer(number) for number in range(CUSTOMERS)])
        self._users = pa.array([user(number) for number in range(USERS)])

    def spread(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same calls, of those customers and users."""
        for name, names in (("customer", self._customers), ("user", self._users)):
            drawn = self._rng.zipf(1.15, batch.num_rows) % len(names)
            batch = with_column(batch, name, names.take(pa.array(drawn)))
        return batch


def mark(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """The batch with one of its calls marked: the first that an OpenAI model answered in full."""
    answered = pc.and_(pc.equal(batch.column("provider"), "openai"), pc.equal(batch.column("usage_status"), "final"))
    answered = pc.and_(answered, pc.greater(batch.column("output_tokens"), 0))
    rows = np.flatnonzero(np.asarray(answered.fill_null(False)))
    if not len(rows):
        raise ValueError("no call in the batch can be marked: let it be larger")
    chosen = pa.array(np.arange(batch.num_rows) == rows[0])
    values = {"customer": marked(number), "output_tokens": MARKED_TOKENS, "request_model": MARKED_MODEL}
    for name, value in {**values, "response_model": MARKED_MODEL}.items():
        batch = with_column(batch, name, pc.if_else(chosen, value, batch.column(name)))
    return batch


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    """The batch with other values in a column, of the column's type."""
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(at), column.cast(batch.schema.field(at).type))


def send(rate: float, seconds: float, marks: int) -> None:
    """Send until the time is over; marks come between `SETTLE_SECONDS` and the end."""
    conf = settings()
    wait_for_brokers(conf)
    began = last = datetime.now(UTC)
    traffic, members = LiveTraffic(41, began), Members(42)
    due_at = np.linspace(SETTLE_SECONDS, seconds, marks, endpoint=False)
    sent = told = 0
    with UsageProducer(conf) as producer:
        while (elapsed := (datetime.now(UTC) - began).total_seconds()) < seconds:
            due = int(elapsed * rate) - sent
            if due >= 20:
                now = datetime.now(UTC)
                batch = members.spread(traffic.events(last, now, due))
                is_due = told < marks and due_at[told] <= elapsed
                if is_due:
                    batch = mark(batch, told)
                producer.send_many(record_keys(batch), encode_batch(batch, producer.prefix))
                if is_due:
                    print(marked(told), (now - _EPOCH) // timedelta(microseconds=1), flush=True)
                    told += 1
                sent, last = sent + due, now
            time.sleep(TICK_SECONDS)
    print("sent", sent, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marked_traffic", description=__doc__)
    parser.add_argument("--rate", type=float, required=True, help="events a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--marks", type=int, required=True, help="marked calls in all")
    args = parser.parse_args()
    send(args.rate, args.seconds, args.marks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
