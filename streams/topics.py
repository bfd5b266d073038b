"""The topics of the pipeline: their names, what they carry and how long they are kept.

`spend.usage`, `spend.priced` and the price agent share one partition count: block n of a priced partition says what was
decided about a stretch of the usage partition of the same number.
"""

from dataclasses import dataclass, field

DAY_MS = 24 * 3600 * 1000

USAGE = "spend.usage"
PRICED = "spend.priced"
RATES = "spend.rates"
DEAD_LETTER = "spend.dead-letter"


@dataclass(frozen=True)
class Topic:
    """A topic as `spendstream topics create` makes it."""

    name: str
    what: str
    partitions: int | None  # None: the pipeline's own count, SPEND_PARTITIONS
    config: dict[str, str] = field(default_factory=dict)


TOPICS: tuple[Topic, ...] = (
    Topic(USAGE, "Avro UsageEvent, keyed source:id", None, {"retention.ms": str(35 * DAY_MS)}),
    Topic(
        PRICED,
        "priced blocks: Arrow IPC streams of one record batch",
        None,
        {"retention.ms": str(35 * DAY_MS), "max.message.bytes": str(64 << 20)},
    ),
    Topic(RATES, "own rates as JSON, keyed by rate id", 1, {"cleanup.policy": "compact"}),
    Topic(
        DEAD_LETTER,
        "what could not be read: the original bytes, the reason in headers",
        1,
        # a record that was compressed on spend.usage is larger here
        {"retention.ms": str(30 * DAY_MS), "max.message.bytes": str(64 << 20)},
    ),
)
