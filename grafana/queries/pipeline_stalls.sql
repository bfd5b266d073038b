-- Stretches of half a minute and more in which events waited and none was counted.
SELECT
    source_partition AS "Partition",
    minIf(recorded_at, usage_end > mark + 1) AS "Since",
    max(recorded_at) AS "Until",
    dateDiff('second', "Since", "Until") AS "Seconds",
    mark + 1 AS "Stood at",
    max(usage_end) - mark - 1 AS "Events waiting"
FROM health
WHERE $__timeFilter(recorded_at)
GROUP BY priced_log_id, source_partition, mark
HAVING countIf(usage_end > mark + 1) > 0 AND "Seconds" >= 30
ORDER BY "Since" DESC, source_partition
LIMIT 100
