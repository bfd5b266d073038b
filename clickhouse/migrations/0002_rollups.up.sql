-- Sums per 15 minutes (UTC) and low-cardinality dimension: what reports and dashboards read.
-- An absent dimension is '': the unattributed row. A cost that is not known adds nothing to a sum; pricing_status tells
-- such calls apart.
CREATE TABLE IF NOT EXISTS $database.usage_15m $on_cluster
(
    time DateTime('UTC') CODEC(Delta, LZ4),
    provider LowCardinality(String),
    model LowCardinality(String),
    workload LowCardinality(String),
    customer LowCardinality(String),
    team LowCardinality(String),
    project LowCardinality(String),
    service LowCardinality(String),
    server LowCardinality(String),
    gateway LowCardinality(String),
    environment LowCardinality(String),
    operation LowCardinality(String),
    cost_category LowCardinality(String),
    cache_outcome LowCardinality(String),
    region LowCardinality(String),
    service_tier LowCardinality(String),
    pricing_status LowCardinality(String),
    usage_status LowCardinality(String),
    calls SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    errors SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    output_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    cache_read_input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    cache_creation_input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    cache_creation_1h_input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    reasoning_output_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    audio_input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    audio_output_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    image_input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    image_output_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    cost_input SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_cache_read SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_cache_write SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_output SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_audio SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_image SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_quantities SimpleAggregateFunction(sum, Decimal(38, 12)),
    cost_total SimpleAggregateFunction(sum, Decimal(38, 12)),
    timed_calls SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    duration_ms SimpleAggregateFunction(sum, Int128)
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(time)
PRIMARY KEY (toDate(time), workload, customer)
ORDER BY (toDate(time), workload, customer, team, provider, model, project, service, server, gateway, environment,
          operation, cost_category, cache_outcome, region, service_tier, pricing_status, usage_status, time)
TTL time + toIntervalDay($rollup_retention_days)
SETTINGS $deduplication, $durability, ttl_only_drop_parts = 1;

-- No GROUP BY: merges add rows of one key up. Hashing 18 keys first costs more than it saves where most keys are seen
-- once or twice in a block.
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.usage_15m_view $on_cluster TO $database.usage_15m AS
SELECT
    toStartOfFifteenMinutes(u.time) AS time,
    u.provider AS provider,
    u.model AS model,
    ifNull(u.workload, '') AS workload,
    ifNull(u.customer, '') AS customer,
    ifNull(u.team, '') AS team,
    ifNull(u.project, '') AS project,
    ifNull(u.service, '') AS service,
    ifNull(u.server, '') AS server,
    ifNull(u.gateway, '') AS gateway,
    ifNull(u.environment, '') AS environment,
    u.operation AS operation,
    u.cost_category AS cost_category,
    ifNull(u.cache_outcome, '') AS cache_outcome,
    ifNull(u.region, '') AS region,
    ifNull(u.service_tier, '') AS service_tier,
    u.pricing_status AS pricing_status,
    u.usage_status AS usage_status,
    toInt64(1) AS calls,
    toInt64(isNotNull(u.error_type)) AS errors,
    ifNull(u.input_tokens, 0) AS input_tokens,
    ifNull(u.output_tokens, 0) AS output_tokens,
    ifNull(u.cache_read_input_tokens, 0) AS cache_read_input_tokens,
    ifNull(u.cache_creation_input_tokens, 0) AS cache_creation_input_tokens,
    ifNull(u.cache_creation_1h_input_tokens, 0) AS cache_creation_1h_input_tokens,
    ifNull(u.reasoning_output_tokens, 0) AS reasoning_output_tokens,
    ifNull(u.audio_input_tokens, 0) AS audio_input_tokens,
    ifNull(u.audio_output_tokens, 0) AS audio_output_tokens,
    ifNull(u.image_input_tokens, 0) AS image_input_tokens,
    ifNull(u.image_output_tokens, 0) AS image_output_tokens,
    ifNull(u.cost_input, 0) AS cost_input,
    ifNull(u.cost_cache_read, 0) AS cost_cache_read,
    ifNull(u.cost_cache_write, 0) AS cost_cache_write,
    ifNull(u.cost_output, 0) AS cost_output,
    ifNull(u.cost_audio, 0) AS cost_audio,
    ifNull(u.cost_image, 0) AS cost_image,
    ifNull(u.cost_quantities, 0) AS cost_quantities,
    ifNull(u.cost_total, 0) AS cost_total,
    toInt64(isNotNull(u.duration_ms)) AS timed_calls,
    toInt128(ifNull(u.duration_ms, 0)) AS duration_ms
FROM $database.usage AS u;

-- Sums per 15 minutes for the dimensions of many members, one at a time: user, workflow, agent, api_key_id, release,
-- and 'tags.<key>' for every tag. A call counts once under each dimension; under a tag only if it bears it.
CREATE TABLE IF NOT EXISTS $database.members_15m $on_cluster
(
    time DateTime('UTC') CODEC(Delta, LZ4),
    dimension LowCardinality(String),
    member String,
    calls SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    errors SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    partial_calls SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    unpriced_calls SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    input_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    output_tokens SimpleAggregateFunction(sum, Int64) CODEC(T64, LZ4),
    cost_total SimpleAggregateFunction(sum, Decimal(38, 12))
)
ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(time)
PRIMARY KEY (dimension, toDate(time), member)
ORDER BY (dimension, toDate(time), member, time)
TTL time + toIntervalDay($rollup_retention_days)
SETTINGS $deduplication, $durability, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.members_15m_view $on_cluster TO $database.members_15m AS
SELECT
    toStartOfFifteenMinutes(u.time) AS time,
    entry.1 AS dimension,
    entry.2 AS member,
    toInt64(count()) AS calls,
    toInt64(count(u.error_type)) AS errors,
    toInt64(countIf(u.pricing_status = 'partial')) AS partial_calls,
    toInt64(countIf(u.pricing_status = 'unpriced')) AS unpriced_calls,
    ifNull(sum(u.input_tokens), 0) AS input_tokens,
    ifNull(sum(u.output_tokens), 0) AS output_tokens,
    ifNull(sum(u.cost_total), 0) AS cost_total
FROM $database.usage AS u
ARRAY JOIN arrayConcat(
    [
        ('user', ifNull(u.user, '')),
        ('workflow', toString(ifNull(u.workflow, ''))),
        ('agent', toString(ifNull(u.agent, ''))),
        ('api_key_id', toString(ifNull(u.api_key_id, ''))),
        ('release', toString(ifNull(u.release, '')))
    ],
    arrayMap((key, value) -> (concat('tags.', key), value), mapKeys(u.tags), mapValues(u.tags))
) AS entry
GROUP BY ALL;
