-- The range's figures under the filters, side by side.
SELECT
    if(sumIf(calls, pricing_status != 'unpriced') = 0 AND "Calls" > 0, NULL, sum(cost_total)) AS "Cost",
    sumIf(calls, pricing_status = 'unpriced') AS "Calls without a price",
    sum(calls) AS "Calls",
    sum(input_tokens + output_tokens) AS "Tokens",
    "Tokens" / nullIf("Calls", 0) AS "Tokens per call",
    sum(cost_total) / nullIf(sumIf(calls, pricing_status != 'unpriced'), 0) AS "Cost per call",
    sumIf(calls, cache_outcome = 'hit') / nullIf(sumIf(calls, cache_outcome IN ('hit', 'miss')), 0) AS "Cache hit rate"
FROM usage_15m
WHERE $__timeFilter(time)
    -- include filters
HAVING "Calls" > 0
