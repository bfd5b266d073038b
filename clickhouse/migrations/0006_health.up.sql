-- What each partition's sink reports every few seconds, so that pages can show how it went and not only where it is:
-- the counts of `progress`, and where the log of events ended then. A report too many or too few changes no figure.
CREATE TABLE IF NOT EXISTS $database.health $on_cluster
(
    recorded_at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    priced_log_id LowCardinality(String),
    log_id LowCardinality(String),
    source_partition Int32,
    usage_end Int64 CODEC(Delta, LZ4),
    mark Int64 CODEC(Delta, LZ4),
    block_offset Int64 CODEC(Delta, LZ4),
    blocks UInt64 CODEC(Delta, LZ4),
    rows UInt64 CODEC(Delta, LZ4),
    duplicates UInt64 CODEC(Delta, LZ4),
    dead_letters Map(String, UInt64),
    misrouted UInt64 CODEC(Delta, LZ4),
    event_time_max DateTime64(6, 'UTC') CODEC(Delta, LZ4)
)
ENGINE = ${replicated}MergeTree
PARTITION BY toDate(recorded_at)
ORDER BY (recorded_at, source_partition)
TTL toDateTime(recorded_at) + toIntervalDay(30)
SETTINGS $durability, ttl_only_drop_parts = 1;
