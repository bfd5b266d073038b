SELECT time, provider, model, calls, errors, cache_outcome, timed_calls, toInt128(duration_ms) AS duration_ms,
       input_tokens + output_tokens AS tokens, cost_total AS cost
FROM usage_15m
WHERE $__timeFilter(time) AND (
    -- include is_member_15m
)
UNION ALL
-- Users, workflows, agents, keys, releases and tags have no rollup with models and durations.
SELECT toStartOfFifteenMinutes(time), provider, model, toInt64(1), toInt64(isNotNull(error_type)),
       ifNull(cache_outcome, ''), toInt64(isNotNull(duration_ms)), toInt128(ifNull(duration_ms, 0)),
       ifNull(input_tokens, 0) + ifNull(output_tokens, 0), ifNull(cost_total, 0)
FROM usage
WHERE $__timeFilter(toStartOfFifteenMinutes(time)) AND (
    -- include is_member_narrow
)
