-- Events decided a second: counted, dropped as repeats, or put aside as dead letters.
SELECT
    $__timeInterval(recorded_at) AS time,
    sum(new_rows) / $__interval_s AS "Counted",
    sum(repeats) / $__interval_s AS "Duplicates dropped",
    sum(arraySum(mapValues(dead))) / $__interval_s AS "Dead letters"
FROM
(
    -- include health_steps
)
WHERE $__timeFilter(recorded_at)
GROUP BY time
ORDER BY time
