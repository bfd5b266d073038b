-- Share of spend beside share of calls, of the fifteen members that cost most.
WITH
    -- include asked_group
SELECT
    if(member = '', '(unattributed)', member) AS "Member",
    sum(cost) / nullIf(sum(sum(cost)) OVER (), 0) AS "Share of spend",
    toDecimal64(sum(calls), 6) / nullIf(sum(sum(calls)) OVER (), 0) AS "Share of calls"
FROM
(
    -- include explorer_calls
)
GROUP BY member
ORDER BY sum(cost) DESC, sum(calls) DESC, member
LIMIT 15
