-- Partitions that stand still at the range's end: for five minutes events have waited and none was counted, or for so
-- long no sink has reported on them.
WITH $__toTime - INTERVAL 5 MINUTE AS then
SELECT count() AS value
FROM
(
    SELECT
        argMaxIf(mark, recorded_at, recorded_at <= then) AS mark_then,
        argMaxIf(usage_end, recorded_at, recorded_at <= then) AS end_then,
        max(mark) AS mark_now,
        max(recorded_at) < then AS silent
    FROM health
    WHERE recorded_at > $__toTime - INTERVAL 1 DAY AND recorded_at <= $__toTime
      AND priced_log_id = (SELECT argMax(priced_log_id, recorded_at) FROM health WHERE recorded_at <= $__toTime)
    GROUP BY source_partition
    HAVING countIf(recorded_at <= then) > 0 AND (silent OR (mark_now = mark_then AND end_then > mark_then + 1))
)
