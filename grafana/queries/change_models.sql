-- Models and tiers in both stretches, the greatest difference first.
WITH
    -- include asked_member
    ,
    -- include change_stretches
SELECT
    provider AS "Provider",
    model AS "Model",
    if(service_tier = '', 'standard', service_tier) AS "Tier",
    sumIf(cost_total, quarter >= before_start AND quarter < before_end) AS "Before",
    sumIf(cost_total, quarter >= this_start AND quarter < this_end) AS "This range",
    "This range" - "Before" AS "Change",
    sumIf(calls, quarter >= before_start AND quarter < before_end) AS "Calls before",
    sumIf(calls, quarter >= this_start AND quarter < this_end) AS "Calls in this range"
FROM
(
    -- include change_rows
)
GROUP BY provider, model, service_tier
ORDER BY abs("Change") DESC, provider, model, service_tier
LIMIT 30
