-- What usage_15m has a column for.
SELECT
    time AS quarter,
    -- include member_name_15m
    AS member,
    cost_total AS cost, calls, errors, if(pricing_status = 'unpriced', calls, 0) AS unpriced_calls,
    input_tokens + output_tokens AS tokens,
    if(cache_outcome = 'hit', calls, 0) AS cache_hits, if(cache_outcome IN ('hit', 'miss'), calls, 0) AS cache_asked
FROM usage_15m
WHERE $__timeFilter(time) AND NOT
    -- include is_narrow
    -- include filters
UNION ALL
-- Users, workflows, agents, keys, releases and tags; of a tag, what has a row is also taken from what has none.
SELECT
    time, if(sign = 1, member, ''), sign * cost_total, sign * calls, sign * errors, sign * unpriced_calls,
    sign * (input_tokens + output_tokens), 0, 0
FROM members_15m
ARRAY JOIN if(startsWith(the_dimension, 'tags.'), [1, -1], [1]) AS sign
WHERE $__timeFilter(time) AND dimension = the_dimension AND
    -- include unfiltered
UNION ALL
SELECT
    time, '', cost_total, calls, errors, if(pricing_status = 'unpriced', calls, 0), input_tokens + output_tokens, 0, 0
FROM usage_15m
WHERE $__timeFilter(time) AND startsWith(the_dimension, 'tags.') AND
    -- include unfiltered
UNION ALL
-- The same ones with a filter: no rollup has both, so these are the calls themselves.
SELECT
    toStartOfFifteenMinutes(time),
    -- include member_name_call
    , ifNull(cost_total, 0), 1, isNotNull(error_type), pricing_status = 'unpriced',
    ifNull(input_tokens, 0) + ifNull(output_tokens, 0), 0, 0
FROM usage
WHERE $__timeFilter(toStartOfFifteenMinutes(time)) AND NOT
    -- include unfiltered
AND
    -- include is_narrow
    -- include filters
