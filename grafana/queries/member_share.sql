-- The member's share of everything in the range, and the share of spend that bears no member of its dimension.
WITH
    -- include asked_member
SELECT
    sumIf(cost, part = 'member') / nullIf(sumIf(cost, part = 'all'), 0) AS "Share of spend",
    sumIf(calls, part = 'member') / nullIf(sumIf(calls, part = 'all'), 0) AS "Share of calls",
    1 - sumIf(cost, part = 'attributed') / nullIf(sumIf(cost, part = 'all'), 0) AS "Unattributed"
FROM
(
    SELECT 'member' AS part, sum(member.cost) AS cost, sum(member.calls) AS calls
    FROM
    (
        -- include member_15m
    ) AS member
    WHERE $__timeFilter(member.time)
    UNION ALL
    SELECT 'all', sum(cost_total), sum(usage_15m.calls) FROM usage_15m WHERE $__timeFilter(time)
    UNION ALL
    SELECT 'attributed', sum(cost_total), sum(usage_15m.calls)
    FROM usage_15m
    WHERE $__timeFilter(time) AND (the_dimension = 'global' OR
        -- include member_name_15m
        != '')
    UNION ALL
    SELECT 'attributed', sum(cost_total), sum(members_15m.calls)
    FROM members_15m
    WHERE $__timeFilter(time) AND dimension = the_dimension AND member != ''
)
HAVING sumIf(calls, part = 'all') > 0
