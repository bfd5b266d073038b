-- What the stream saw: sums of each member's minutes, quarters of an hour and days, the columns of
-- schemas.windows.windows_arrow() in its order, and when the row came. A window comes again whenever it changes; the
-- greatest version counts.
CREATE TABLE IF NOT EXISTS $database.windows $on_cluster
(
    log_id LowCardinality(String),
    level LowCardinality(String),
    start DateTime('UTC') CODEC(Delta, LZ4),
    dimension LowCardinality(String),
    member String,
    version Int64 CODEC(T64, LZ4),
    calls Int64 CODEC(T64, LZ4),
    errors Int64 CODEC(T64, LZ4),
    cache_hits Int64 CODEC(T64, LZ4),
    unpriced_calls Int64 CODEC(T64, LZ4),
    partial_calls Int64 CODEC(T64, LZ4),
    input_tokens Int64 CODEC(T64, LZ4),
    output_tokens Int64 CODEC(T64, LZ4),
    cache_read_input_tokens Int64 CODEC(T64, LZ4),
    cache_creation_input_tokens Int64 CODEC(T64, LZ4),
    cache_creation_1h_input_tokens Int64 CODEC(T64, LZ4),
    reasoning_output_tokens Int64 CODEC(T64, LZ4),
    audio_input_tokens Int64 CODEC(T64, LZ4),
    audio_output_tokens Int64 CODEC(T64, LZ4),
    image_input_tokens Int64 CODEC(T64, LZ4),
    image_output_tokens Int64 CODEC(T64, LZ4),
    cost_input Decimal(38, 12),
    cost_cache_read Decimal(38, 12),
    cost_cache_write Decimal(38, 12),
    cost_output Decimal(38, 12),
    cost_audio Decimal(38, 12),
    cost_image Decimal(38, 12),
    cost_quantities Decimal(38, 12),
    cost_total Decimal(38, 12),
    inserted_at DateTime64(3, 'UTC') MATERIALIZED now64(3) CODEC(Delta, LZ4)
)
ENGINE = ${replicated}ReplacingMergeTree(version)
PARTITION BY (level, if(level = 'minute', toDate(start), toStartOfMonth(start)))
ORDER BY (log_id, level, dimension, member, start)
TTL start + toIntervalDay(multiIf(level = 'minute', 3, level = 'quarter_hour', $raw_retention_days, $rollup_retention_days))
SETTINGS $durability, ttl_only_drop_parts = 1;

-- The alerts of spend.alerts. An id is unique within its log, as CloudEvents has it: source and id.
CREATE TABLE IF NOT EXISTS $database.alerts $on_cluster
(
    id String,
    log_id LowCardinality(String),
    incident String,
    type LowCardinality(String),
    change LowCardinality(String),
    severity LowCardinality(String),
    subject String,
    dimension LowCardinality(String),
    member String,
    time DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    title String,
    text String CODEC(ZSTD(1)),
    data String CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta, LZ4)
)
ENGINE = ${replicated}ReplacingMergeTree(version)
ORDER BY (log_id, id)
TTL toDateTime(time) + toIntervalDay($rollup_retention_days)
SETTINGS $durability;

-- Compacted topics, a row for each key. FINAL leaves out what was removed.
CREATE TABLE IF NOT EXISTS $database.budgets $on_cluster
(
    id String,
    value String,
    removed UInt8,
    version UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version, removed)
ORDER BY id
SETTINGS $durability;

CREATE TABLE IF NOT EXISTS $database.budget_status $on_cluster
(
    key String,
    budget_id String,
    name String,
    scope LowCardinality(String),
    member String,
    period LowCardinality(String),
    period_start DateTime64(3, 'UTC'),
    resets_at DateTime64(3, 'UTC'),
    state LowCardinality(String),
    spent_usd Decimal(38, 12),
    limit_usd Decimal(38, 12),
    percent Decimal(38, 2),
    breach_p50 Nullable(DateTime64(3, 'UTC')),
    breach_p90 Nullable(DateTime64(3, 'UTC')),
    forecast_p50_usd Nullable(Decimal(38, 12)),
    forecast_p90_usd Nullable(Decimal(38, 12)),
    as_of DateTime64(3, 'UTC'),
    since Nullable(DateTime64(3, 'UTC')),
    value String,
    removed UInt8,
    version UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version, removed)
ORDER BY key
SETTINGS $durability;

CREATE TABLE IF NOT EXISTS $database.deliveries $on_cluster
(
    alert_id String,
    channel LowCardinality(String),
    state LowCardinality(String),
    attempts UInt32,
    last_error String,
    at DateTime64(3, 'UTC') CODEC(Delta, LZ4),
    value String CODEC(ZSTD(1)),
    removed UInt8,
    version UInt64 CODEC(Delta, LZ4)
)
ENGINE = ${replicated}ReplacingMergeTree(version, removed)
ORDER BY (alert_id, channel)
TTL toDateTime(at) + toIntervalDay($rollup_retention_days)
SETTINGS $durability;
