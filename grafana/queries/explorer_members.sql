-- Each member of the dimension: cost, calls, tokens, what a call takes and costs, and its share of both.
WITH
    -- include asked_group
SELECT
    if(member = '', '(unattributed)', member) AS "Member",
    if(sum(unpriced_calls) = "Calls" AND "Calls" > 0, NULL, sum(cost)) AS "Cost",
    sum(cost) / nullIf(sum(sum(cost)) OVER (), 0) AS "Share of spend",
    toDecimal64("Calls", 6) / nullIf(sum("Calls") OVER (), 0) AS "Share of calls",
    sum(calls) AS "Calls",
    sum(tokens) AS "Tokens",
    "Tokens" / nullIf("Calls", 0) AS "Tokens per call",
    sum(cost) / nullIf("Calls" - sum(unpriced_calls), 0) AS "Cost per call",
    sum(cache_hits) / nullIf(sum(cache_asked), 0) AS "Cache hit rate",
    sum(errors) / nullIf("Calls", 0) AS "Errors",
    sum(unpriced_calls) AS "Unpriced",
    the_dimension AS dimension
FROM
(
    -- include explorer_calls
    UNION ALL
    SELECT $__fromTime, '', toDecimal128(0, 12), 0, 0, 0, 0, 0, 0
)
GROUP BY member
QUALIFY sum("Calls") OVER () > 0
ORDER BY sum(cost) DESC, "Calls" DESC, member
LIMIT 500 BY member = ''
