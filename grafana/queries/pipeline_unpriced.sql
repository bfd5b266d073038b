-- Models whose calls are counted without a price, or with a part of one.
SELECT
    provider AS "Provider",
    model AS "Model",
    sumIf(calls, pricing_status = 'unpriced') AS "Without a price",
    sumIf(calls, pricing_status = 'partial') AS "With a part of it",
    sum(input_tokens + output_tokens) AS "Tokens",
    max(time) AS "Latest quarter of an hour"
FROM usage_15m
WHERE $__timeFilter(time) AND pricing_status IN ('unpriced', 'partial')
GROUP BY provider, model
ORDER BY "Without a price" DESC, "With a part of it" DESC, provider, model
LIMIT 100
