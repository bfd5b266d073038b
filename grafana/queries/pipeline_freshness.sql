-- Seconds from the log to the table.
SELECT
    $__timeInterval(usage.time) AS time,
    quantile(0.5)(dateDiff('millisecond', record_time, inserted_at) / 1000) AS "Half of the calls within",
    quantile(0.99)(dateDiff('millisecond', record_time, inserted_at) / 1000) AS "99 of 100 within"
FROM usage
WHERE $__timeFilter(usage.time)
GROUP BY time
ORDER BY time
