-- Users inside the member, of the raw calls: no rollup has both. Whole quarters of
-- an hour, as in the rollups.
WITH
    -- include asked_member
SELECT
    if(name = '', '(unattributed)', name) AS "User",
    cost AS "Cost",
    cost / nullIf(sum(cost) OVER (), 0) AS "Share",
    calls AS "Calls",
    tokens AS "Tokens",
    cost / calls AS "Cost per call"
FROM
(
    SELECT ifNull(user, '') AS name, sum(ifNull(cost_total, 0)) AS cost, count() AS calls,
           sum(ifNull(input_tokens, 0) + ifNull(output_tokens, 0)) AS tokens
    FROM usage
    WHERE $__timeFilter(toStartOfFifteenMinutes(time)) AND (
        -- include is_member_call
    )
    GROUP BY name
)
ORDER BY cost DESC, calls DESC, name
LIMIT 50
