-- The latest report on each partition of the log that is worked on, and since when the first event that it had not
-- counted had been waiting, as in health_waiting: of the latest reports alone, which is much less work.
SELECT
    source_partition,
    any(latest.reported_at) AS reported_at,
    any(latest.mark) AS mark,
    any(latest.usage_end) AS usage_end,
    any(latest.event_time_max) AS event_time_max,
    greatest(usage_end - mark - 1, 0) AS waiting,
    if(waiting = 0, 0, dateDiff('millisecond', minIf(health.recorded_at, health.usage_end > latest.mark + 1),
                                reported_at) / 1000) AS seconds
FROM health
INNER JOIN
(
    SELECT
        source_partition, priced_log_id, max(recorded_at) AS reported_at,
        argMax(health.mark, recorded_at) AS mark,
        argMax(health.usage_end, recorded_at) AS usage_end,
        argMax(health.event_time_max, recorded_at) AS event_time_max
    FROM health
    WHERE recorded_at >= $__fromTime AND recorded_at <= $__toTime AND priced_log_id = (
        SELECT argMax(priced_log_id, recorded_at)
        FROM health
        WHERE recorded_at >= $__fromTime AND recorded_at <= $__toTime)
    GROUP BY source_partition, priced_log_id
) AS latest
ON latest.source_partition = health.source_partition AND latest.priced_log_id = health.priced_log_id
WHERE health.recorded_at >= $__fromTime - INTERVAL 1 DAY AND health.recorded_at <= $__toTime
GROUP BY source_partition
