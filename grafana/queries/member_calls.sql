-- The latest calls with what each cost and the rate that priced it.
WITH
    -- include asked_member
SELECT
    toDateTime64(time, 3) AS "Time",
    provider AS "Provider",
    model AS "Model",
    operation AS "Operation",
    pricing_status AS "Priced",
    cost_total AS "Cost",
    cost_input AS "Input",
    cost_cache_read AS "Cache read",
    cost_cache_write AS "Cache write",
    cost_output AS "Output",
    cost_audio AS "Audio",
    cost_image AS "Image",
    cost_quantities AS "Quantities",
    rate_id AS "Rate",
    price_version AS "Price version",
    unpriced_units AS "Without a price",
    input_tokens AS "Input tokens",
    cache_read_input_tokens AS "Of these read from cache",
    cache_creation_input_tokens AS "Of these written to cache",
    output_tokens AS "Output tokens",
    reasoning_output_tokens AS "Of these reasoning",
    duration_ms AS "Duration",
    error_type AS "Error",
    cache_outcome AS "Cache",
    ifNull(workload, '') AS "Workload",
    ifNull(customer, '') AS "Customer",
    ifNull(team, '') AS "Team",
    ifNull(user, '') AS "User",
    ifNull(server, '') AS "Server",
    id AS "Id",
    source AS "Source",
    log_id AS "Log",
    source_partition AS "Partition",
    source_offset AS "Offset"
FROM usage
WHERE $__timeFilter(time) AND (
    -- include is_member_call
)
ORDER BY time DESC, source_partition, source_offset DESC
LIMIT 100
