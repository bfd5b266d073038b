-- Models inside the member.
WITH
    -- include asked_member
SELECT
    provider AS "Provider",
    model AS "Model",
    cost AS "Cost",
    cost / nullIf(sum(cost) OVER (), 0) AS "Share",
    calls AS "Calls",
    tokens AS "Tokens",
    cost / calls AS "Cost per call",
    tokens / calls AS "Tokens per call"
FROM
(
    SELECT provider, model, sum(detail.cost) AS cost, sum(detail.calls) AS calls, sum(detail.tokens) AS tokens
    FROM
    (
        -- include member_detail
    ) AS detail
    GROUP BY provider, model
)
ORDER BY cost DESC, calls DESC, provider, model
LIMIT 50
