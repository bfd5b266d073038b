-- Cost of the fifteen pairs of provider and model that cost most.
SELECT concat(provider, ' / ', model) AS "Provider / model", sum(cost_total) AS "Cost"
FROM usage_15m
WHERE $__timeFilter(time)
    -- include filters
GROUP BY provider, model
ORDER BY "Cost" DESC, "Provider / model"
LIMIT 15
