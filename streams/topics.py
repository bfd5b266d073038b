"""The topics of the pipeline: their names, what they carry and how long they are kept.

`spend.usage`, `spend.priced` and the price agent share one partition count: block n of a priced partition says what was
decided about a stretch of the usage partition of the same number.
"""

from dataclasses import dataclass, field

from streams.settings import Settings

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
NAMES = "spend.names"
FORGOTTEN = "spend.forgotten"

# A process of the pipeline may have a wrong clock: Kafka refuses timestamps that are over an hour ahead of its own, and
# would forget early what seems old. The clocks of those who write spend.usage are theirs.
_BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}
_BLOCK_BYTES = {"max.message.bytes": str(64 << 20)}
_BLOCKS = {**_BLOCK_BYTES, **_BROKERS_TIME}
# A segment that is still written to is never compacted, and by default one is for a week: whoever starts reads it all.
# What is younger than the lag replaces nothing yet: who reads up to an end that he saw finds what stood then.
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "600000",
    "min.compaction.lag.ms": "600000",
    **_BROKERS_TIME,
}
SEGMENT_SECONDS = 10  # of spend.names: what was forgotten leaves the broker's files when its segment is closed
_SOON = {
    "segment.ms": str(SEGMENT_SECONDS * 1000),
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "60000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": str(DAY_MS),
    "file.delete.delay.ms": "1000",
}


@dataclass(frozen=True)
class Topic:
    """A topic as `spendstream topics create` makes it.

    Attributes:
        partitions: None: the pipeline's own count, SPEND_PARTITIONS.
        kept: which SPEND_..._RETENTION_DAYS says how long; None: compacted, the last record of each key stays.
    """

    name: str
    what: str
    partitions: int | None
    config: dict[str, str] = field(default_factory=dict)
    kept: str | None = None

    def settled(self, settings: Settings) -> dict[str, str]:
        """Its whole configuration under these settings."""
        if self.kept is None:
            return self.config
        days: int = getattr(settings, f"{self.kept}_retention_days")
        return self.config | {"retention.ms": str(days * DAY_MS)}


TOPICS: tuple[Topic, ...] = (
    Topic(USAGE, "Avro UsageEvent, keyed source:id", None, kept="log"),
    Topic(PRICED, "priced blocks: Arrow IPC streams of one record batch", None, _BLOCKS, "log"),
    Topic(RATES, "own rates as JSON, keyed by rate id", 1, _COMPACTED),
    Topic(
        DEAD_LETTER,
        "what could not be read: the original bytes, the reason in headers",
        1,
        # a record that was compressed on spend.usage is larger here
        _BLOCKS,
        "dead_letter",
    ),
    Topic(TOTALS, "what each priced block adds to members' minutes: Arrow IPC streams", None, _BLOCKS, "stage"),
    Topic(WINDOWS, "members' minutes, quarters of an hour and days: Arrow IPC streams", None, _BLOCKS, "stage"),
    Topic(STATE, "what a windows worker takes over: progress and window chunks", None, {**_COMPACTED, **_BLOCK_BYTES}),
    Topic(BUDGETS, "budgets as JSON, keyed by budget id", 1, _COMPACTED),
    Topic(BUDGET_STATUS, "each budget's state as JSON: gateways read it to stop calls", 1, _COMPACTED),
    Topic(ALERTS, "alerts as CloudEvents, keyed by incident", 1, _BROKERS_TIME, "alert_log"),
    Topic(DELIVERIES, "what became of each alert on each channel, as JSON", 1, _COMPACTED),
    Topic(PLANNED, "planned activity: members whose anomalies are expected, as JSON", 1, _COMPACTED),
    Topic(NAMES, "who a pseudonym stands for, as JSON, keyed by pseudonym", 1, {**_COMPACTED, **_SOON}),
    Topic(FORGOTTEN, "pseudonyms whose names are not to be published again", 1, _COMPACTED),
)


def acknowledging(replication: int) -> int:
    """The replicas that a write must have reached before it is acknowledged (min.insync.replicas): all but one.

    With three or more, an acknowledged record outlives the loss of a broker, and a lost broker stops no writer.
    """
    return max(1, replication - 1)
