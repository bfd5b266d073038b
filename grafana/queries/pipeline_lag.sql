-- Events that wait, all partitions together, each at its worst.
SELECT time, sum(worst) AS "Events waiting"
FROM
(
    SELECT $__timeInterval(recorded_at) AS time, max(greatest(usage_end - mark - 1, 0)) AS worst
    FROM health
    WHERE $__timeFilter(recorded_at)
    GROUP BY time, priced_log_id, source_partition
)
GROUP BY time
ORDER BY time
