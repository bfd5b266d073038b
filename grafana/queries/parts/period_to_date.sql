toTimeZone(toStartOfFifteenMinutes($__toTime) + INTERVAL 15 MINUTE, zone) AS until,
toDateTime(first_day, zone) AS start,
toDateTime(previous_first_day, zone) AS previous_start,
least(until - toIntervalDay(first_day - previous_first_day), start) AS previous_until,
(SELECT min(time) FROM usage_15m) AS since
SELECT
    if(all_calls > 0 AND unpriced = all_calls, NULL, cost) AS "Cost",
    if(since < previous_start + INTERVAL 1 DAY, (cost - before) * 100 / nullIf(before, 0), NULL) AS "Change",
    unpriced AS "Calls without a price"
FROM
(
    SELECT
        sumIf(cost_total, time >= start) AS cost,
        sumIf(cost_total, time < previous_until) AS before,
        sumIf(calls, time >= start) AS all_calls,
        sumIf(calls, time >= start AND pricing_status = 'unpriced') AS unpriced
    FROM usage_15m
    WHERE time >= previous_start AND time < until
)
