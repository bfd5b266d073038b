-- The member's share of everything in the range, and the share of spend that bears no member of its dimension.
WITH
    -- include asked_member
SELECT
    sumIf(cost, part = 'member') / nullIf(sumIf(cost, part = 'all'), 0) AS "Share of spend",
    sumIf(calls, part = 'member') / nullIf(sumIf(calls, part = 'all'), 0) AS "Share of calls",
    1 - sumIf(cost, part = 'attributed') / nullIf(sumIf(cost, part = 'all'), 0) AS "Unattributed"
FROM
(
    SELECT 'member' AS part, cost, calls
    FROM
    (
        -- include member_15m
    )
    WHERE $__timeFilter(time)
    UNION ALL
    SELECT 'all', cost_total, calls FROM usage_15m WHERE $__timeFilter(time)
    UNION ALL
    SELECT 'attributed', cost_total, calls
    FROM usage_15m
    WHERE $__timeFilter(time) AND (the_dimension = 'global' OR
        -- include member_name_15m
        != '')
    UNION ALL
    SELECT 'attributed', cost_total, calls
    FROM members_15m
    WHERE $__timeFilter(time) AND dimension = the_dimension AND member != ''
)
HAVING countIf(part = 'all') > 0
