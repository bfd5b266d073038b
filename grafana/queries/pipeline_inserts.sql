-- Inserts a second, one a block, and their rows.
SELECT
    $__timeInterval(recorded_at) AS time,
    sum(new_rows) / $__interval_s AS "Rows",
    sum(new_blocks) / $__interval_s AS "Blocks"
FROM
(
    -- include health_steps
)
WHERE $__timeFilter(recorded_at)
GROUP BY time
ORDER BY time
