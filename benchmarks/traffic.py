"""The benchmark's events: a day of the sample organisation's traffic, with its duplicates and spoilt records."""

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.registry import write_prefix
from streams.producer import UsageProducer
from streams.sample.generator import generate
from streams.settings import Settings

DAYS = 1


@dataclass(frozen=True)
class Traffic:
    """Records in the order of their sending: keys and Avro values of one length, and how many become rows."""

    keys: list[bytes]
    values: list[bytes]
    events: int

    @property
    def bytes_each(self) -> float:
        """Mean bytes of a record's value."""
        return sum(map(len, self.values)) / len(self.values)


def traffic(events: int, seed: int, prefix: bytes | None = None) -> Traffic:
    """About `events` events to be counted, plus duplicates and spoilt records; another seed, other events."""
    sample = generate(seed=seed, end=datetime.now(UTC), events=events, days=DAYS)
    keys: list[bytes] = []
    values: list[bytes] = []
    for some_keys, some_values in sample.encoded(prefix=prefix):
        keys += some_keys
        values += some_values
    return Traffic(keys, values, sample.truth.events)


def send(conf: Settings, events: int, seed: int) -> Traffic:
    """Make traffic and publish it; returns when the broker has acknowledged all of it."""
    made = traffic(events, seed, write_prefix(conf))
    with UsageProducer(conf) as producer:
        producer.send_many(made.keys, made.values)
    return made
