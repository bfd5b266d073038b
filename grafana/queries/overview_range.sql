-- Spend of the range, and of as long a time right before it. No change where data does not reach back that far.
WITH
    $__fromTime - ($__toTime - $__fromTime) AS previous_start,
    (SELECT min(time) FROM usage_15m) AS since
SELECT
    if(all_calls > 0 AND unpriced = all_calls, NULL, cost) AS "Cost",
    if(since < previous_start + INTERVAL 1 DAY, (cost - before) * 100 / nullIf(before, 0), NULL) AS "Change",
    unpriced AS "Calls without a price"
FROM
(
    SELECT
        sumIf(cost_total, time >= $__fromTime) AS cost,
        sumIf(cost_total, time < $__fromTime) AS before,
        sumIf(calls, time >= $__fromTime) AS all_calls,
        sumIf(calls, time >= $__fromTime AND pricing_status = 'unpriced') AS unpriced
    FROM usage_15m
    WHERE time >= previous_start AND time <= $__toTime
)
