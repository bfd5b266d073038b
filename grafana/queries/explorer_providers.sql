-- Spend by provider under the filters.
SELECT provider AS "Provider", sum(cost_total) AS "Cost"
FROM usage_15m
WHERE $__timeFilter(time)
    -- include filters
GROUP BY provider
ORDER BY "Cost" DESC, provider
LIMIT 20
