-- The fifteen pairs of provider and model that cost most.
SELECT
    provider AS "Provider",
    model AS "Model",
    -- include figures
FROM
(
    SELECT
        provider,
        model,
        -- include sums
    FROM usage_15m
    WHERE $__timeFilter(time)
        -- include filters
    GROUP BY provider, model
)
GROUP BY provider, model
ORDER BY sum(cost) DESC, "Calls" DESC, provider, model
LIMIT 15
