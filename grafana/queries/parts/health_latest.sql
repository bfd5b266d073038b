-- The latest report on each partition of the log that is worked on.
SELECT
    source_partition,
    max(waits.recorded_at) AS reported_at,
    argMax(waits.mark, waits.recorded_at) AS mark,
    argMax(waits.usage_end, waits.recorded_at) AS usage_end,
    argMax(waits.waiting, waits.recorded_at) AS waiting,
    argMax(waits.seconds, waits.recorded_at) AS seconds,
    argMax(waits.event_time_max, waits.recorded_at) AS event_time_max
FROM
(
    -- include health_waiting
) AS waits
WHERE priced_log_id = (
    SELECT argMax(priced_log_id, recorded_at) FROM health WHERE recorded_at >= $__fromTime AND recorded_at <= $__toTime)
GROUP BY source_partition
