-- The workloads whose spend rose and fell most in percent: the range's whole days against as many before, and only changes
-- that are worth the floor (streams/report_trends.py). What was not there before comes first and has no percentage.
WITH
    -- include trend_days
SELECT
    member AS "Workload",
    before AS "Before",
    after AS "After",
    if(before > 0, (after - before) * 100 / before, NULL) AS "Change",
    days AS "Days"
FROM
(
    SELECT workload AS member, sumIf(cost_total, time < middle) AS before, sumIf(cost_total, time >= middle) AS after
    FROM usage_15m
    WHERE time >= toDateTime(today - 2 * days, zone) AND time < toDateTime(today, zone) AND workload != ''
    GROUP BY member
)
-- include trend_ranks
