"""The metrics, one vocabulary: name, type, unit, meaning, and what to do when it is bad.

Served as Prometheus text at `/metrics` by the worker and by the sink. Labels are few and bounded.
"""

from prometheus_client import Counter, Gauge, Histogram

_BATCH_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# ---- price agent (worker)

EVENTS_PRICED = Counter(
    "spend_events_priced",
    "Events accepted into priced blocks. Flat while producers send: look at spend_lag_records and the worker's log.",
    ["partition"],
)
EVENTS_DUPLICATE = Counter(
    "spend_events_duplicate",
    "Repeated (source, id) dropped. A steady few are retries; a jump is a producer that sends everything twice.",
    ["partition"],
)
EVENTS_UNPRICED = Counter(
    "spend_events_unpriced",
    "Accepted events whose model has no price, or only part of one. `spendstream rates explain` says why; then "
    "`spendstream rates set`.",
    ["pricing_status"],
)
EVENTS_CUT = Counter(
    "spend_events_cut",
    "Events whose tags were cut or whose raw_usage was left out: a producer sends text where numbers and names belong. "
    "`spendstream report --by tags.spendstream.cut`; docs/privacy.md.",
    ["partition"],
)
DEAD_LETTERS = Counter(
    "spend_dead_letters",
    "Records that could not be counted, by reason. `spendstream dead-letters list`; replay after the mend.",
    ["reason"],
)
MISROUTED = Counter(
    "spend_misrouted_keys",
    "Records whose key belongs to another partition: repeats of them are not recognised. The producer must key by "
    "source:id and use the murmur2 partitioner.",
    ["partition"],
)
BLOCKS_PUBLISHED = Counter("spend_blocks_published", "Priced blocks acknowledged by Kafka.", ["partition"])
BLOCK_BYTES = Counter("spend_block_bytes", "Bytes of the priced blocks.", ["partition"])
DECIDE_SECONDS = Histogram(
    "spend_decide_seconds",
    "Seconds of CPU work for one batch: decode, price, dedupe, encode. Over SPEND_BLOCK_SECONDS: add workers.",
    buckets=_BATCH_SECONDS,
)
PUBLISH_SECONDS = Histogram(
    "spend_publish_seconds",
    "Seconds until Kafka has acknowledged a block. High: the brokers are slow or far.",
    buckets=_BATCH_SECONDS,
)
LAG = Gauge(
    "spend_lag_records",
    "Records of a worker's topic that are not worked on yet. Growing: add workers (up to one a partition).",
    ["topic", "partition"],
)
DEDUP_ENTRIES = Gauge("spend_dedup_entries", "Identities in the deduplication index.", ["partition"])
WATERMARK = Gauge(
    "spend_event_time_seconds",
    "Latest event time seen, seconds since 1970. Far behind the clock with no lag: the producers are late.",
    ["partition"],
)

# ---- windows worker

TOTAL_SECONDS = Histogram(
    "spend_total_seconds",
    "Seconds of CPU work to total a batch of priced blocks. Over SPEND_BLOCK_SECONDS: add windows workers.",
    buckets=_BATCH_SECONDS,
)
TOTAL_PUBLISH_SECONDS = Histogram(
    "spend_total_publish_seconds",
    "Seconds until Kafka has acknowledged the totals of a batch. High: the brokers are slow or far.",
    buckets=_BATCH_SECONDS,
)
MERGE_SECONDS = Histogram(
    "spend_merge_seconds",
    "Seconds of CPU work to merge a batch of totals, judge what closed and evaluate budgets. Over a second: add "
    "windows workers.",
    buckets=_BATCH_SECONDS,
)
WINDOWS_CHANGED = Counter("spend_windows_changed", "Windows published on spend.windows, repeats included.", ["level"])
WINDOWS_TOO_LATE = Gauge(
    "spend_windows_too_late_calls",
    "Calls that came when their window of this level was frozen; the day window has them. Many: producers hold events "
    "back for days, or SPEND_QUARTER_DAYS is too short.",
    ["level", "partition"],
)
WINDOWS_OTHER = Gauge(
    "spend_windows_other_calls",
    "Calls counted under (other), because their dimension has more members than SPEND_MEMBERS. Any: raise it, or stop "
    "sending ids in a field for names.",
    ["partition"],
)
WINDOWS_WATERMARK = Gauge(
    "spend_windows_watermark_seconds",
    "Event time up to which windows are closed, seconds since 1970. Behind the clock while traffic flows: a partition "
    "of spend.usage is not priced, or its producers' clocks are slow.",
    ["partition"],
)
CHECKPOINT_SECONDS = Histogram(
    "spend_checkpoint_seconds",
    "Seconds to save what changed in the windows to spend.state. High: the brokers are slow, or too many members.",
    buckets=_BATCH_SECONDS,
)
ALERTS = Counter("spend_alerts", "Alerts published on spend.alerts.", ["type"])
ALERTS_HELD_BACK = Gauge(
    "spend_alerts_held_back",
    "Anomalies not told because more than SPEND_ALERTS_PER_HOUR opened in an hour; told when they last.",
    ["partition"],
)

# ---- sink

ROWS_INSERTED = Counter(
    "spend_rows_inserted", "Rows acknowledged by ClickHouse (repeated tokens included).", ["partition"]
)
BLOCKS_INSERTED = Counter("spend_blocks_inserted", "Blocks acknowledged by ClickHouse.", ["partition"])
INSERT_SECONDS = Histogram(
    "spend_insert_seconds",
    "Seconds of one insert. High: ClickHouse merges cannot keep up, or the network is slow.",
    buckets=_BATCH_SECONDS,
)
INSERT_RETRIES = Counter(
    "spend_insert_retries",
    "Inserts that failed and are tried again. Rising: ClickHouse is down; the log says why.",
)
SINK_LAG = Gauge("spend_sink_lag_blocks", "Priced blocks not yet in ClickHouse.", ["partition"])
COPIED = Counter(
    "spend_copied_records",
    "Records of the other topics (windows, alerts, budgets, their states, deliveries, planned activity) that "
    "ClickHouse has acknowledged, repeats included.",
    ["topic"],
)
COPY_UNREADABLE = Counter(
    "spend_copy_unreadable",
    "Records of these topics that were left out because they cannot be read. Any: the sink's log says which and why; "
    "somebody else writes to the topic, or the sink is older than the writer.",
    ["topic"],
)
COPY_LAG = Gauge(
    "spend_copy_lag_records",
    "Records of these topics not yet in ClickHouse. Growing: ClickHouse is down or slow; the log says why.",
    ["topic"],
)

# ---- relay

RELAY_DELIVERIES = Counter(
    "spend_relay_deliveries",
    "Alerts settled on a channel: delivered, failed, suppressed or summarised. Failed: `spendstream alerts show` says "
    "why; mend the channel, then `spendstream relay --check`.",
    ["channel", "state"],
)
RELAY_ATTEMPTS_FAILED = Counter(
    "spend_relay_attempts_failed",
    "Attempts that did not get through. Rising: the channel's target is down or refuses; the relay's log says why.",
    ["channel"],
)
RELAY_WAITING = Gauge(
    "spend_relay_waiting",
    "Alerts not yet settled on a channel. Growing: its target is down, or its limit holds back a storm.",
    ["channel"],
)
RELAY_SECONDS = Histogram(
    "spend_relay_seconds",
    "Seconds from an alert on spend.alerts to its delivery. High: a slow target, or one that was down.",
    ["channel"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1_800, 3_600),
)
