-- What the member spent in the range. A cost that is not known adds nothing; such calls are counted beside it.
WITH
    -- include asked_member
SELECT
    if(calls = unpriced, NULL, cost) AS "Cost",
    calls AS "Calls",
    tokens AS "Tokens",
    cost / nullIf(calls - unpriced, 0) AS "Cost per call",
    tokens / nullIf(calls, 0) AS "Tokens per call",
    errors / nullIf(calls, 0) AS "Errors",
    unpriced AS "Calls without a price"
FROM
(
    SELECT sum(member.cost) AS cost, sum(member.calls) AS calls, sum(member.tokens) AS tokens,
           sum(member.errors) AS errors, sum(member.unpriced_calls) AS unpriced
    FROM
    (
        -- include member_15m
    ) AS member
    WHERE $__timeFilter(time)
)
WHERE calls > 0
