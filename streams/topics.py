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
TOTALS = "spend.totals"
WINDOWS = "spend.windows"
STATE = "spend.state"
BUDGETS = "spend.budgets"
BUDGET_STATUS = "spend.budget-status"
ALERTS = "spend.alerts"
DELIVERIES = "spend.deliveries"
PLANNED = "spend.planned"

# A process of the pipeline may have a wrong clock: Kafka refuses timestamps that are over an hour ahead of its own, and
# would forget early what seems old. The clocks of those who write spend.usage are theirs.
_BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}
_BLOCK_BYTES = {"max.message.bytes": str(64 << 20)}
_COMPACTED = {"cleanup.policy": "compact", **_BROKERS_TIME}


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
        {"retention.ms": str(35 * DAY_MS), **_BLOCK_BYTES, **_BROKERS_TIME},
    ),
    Topic(RATES, "own rates as JSON, keyed by rate id", 1, _COMPACTED),
    Topic(
        DEAD_LETTER,
        "what could not be read: the original bytes, the reason in headers",
        1,
        # a record that was compressed on spend.usage is larger here
        {"retention.ms": str(30 * DAY_MS), **_BLOCK_BYTES, **_BROKERS_TIME},
    ),
    Topic(
        TOTALS,
        "what each priced block adds to each member's minutes: Arrow IPC streams",
        None,
        {"retention.ms": str(7 * DAY_MS), **_BLOCK_BYTES, **_BROKERS_TIME},
    ),
    Topic(
        WINDOWS,
        "members' minutes, quarters of an hour and days: Arrow IPC streams",
        None,
        {"retention.ms": str(7 * DAY_MS), **_BLOCK_BYTES, **_BROKERS_TIME},
    ),
    Topic(STATE, "what a windows worker takes over: progress and window chunks", None, {**_COMPACTED, **_BLOCK_BYTES}),
    Topic(BUDGETS, "budgets as JSON, keyed by budget id", 1, _COMPACTED),
    Topic(BUDGET_STATUS, "each budget's state as JSON: gateways read it to stop calls", 1, _COMPACTED),
    Topic(ALERTS, "alerts as CloudEvents, keyed by incident", 1, {"retention.ms": str(30 * DAY_MS), **_BROKERS_TIME}),
    Topic(DELIVERIES, "what became of each alert on each channel, as JSON", 1, _COMPACTED),
    Topic(PLANNED, "planned activity: members whose anomalies are expected, as JSON", 1, _COMPACTED),
)


def acknowledging(replication: int) -> int:
    """The replicas that a write must have reached before it is acknowledged (min.insync.replicas): all but one.

    With three or more, an acknowledged record outlives the loss of a broker, and a lost broker stops no writer.
    """
    return max(1, replication - 1)
