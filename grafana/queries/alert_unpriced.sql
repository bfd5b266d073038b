-- Calls of the range that are counted without a price.
SELECT sum(calls) AS value
FROM usage_15m
WHERE $__timeFilter(time) AND pricing_status = 'unpriced'
