-- How far the latest event time of the slowest partition is behind the clock.
SELECT
    $__timeInterval(recorded_at) AS time,
    max(dateDiff('second', event_time_max, recorded_at)) AS "Behind the clock"
FROM health
WHERE $__timeFilter(recorded_at) AND mark >= 0
GROUP BY time
ORDER BY time
