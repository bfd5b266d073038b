-- What the sink reported, and since when the first event that it had not counted then had been waiting: the first
-- report that knew of it says so, so a wait is known to the seconds between two reports.
SELECT
    reports.recorded_at AS recorded_at, reports.priced_log_id AS priced_log_id,
    reports.source_partition AS source_partition, reports.mark AS mark, reports.usage_end AS usage_end,
    reports.event_time_max AS event_time_max,
    greatest(reports.usage_end - reports.mark - 1, 0) AS waiting,
    if(waiting = 0, 0, dateDiff('millisecond', ends.seen, reports.recorded_at) / 1000) AS seconds
FROM
(
    SELECT *, mark + 1 AS next
    FROM health
    WHERE recorded_at >= $__fromTime AND recorded_at <= $__toTime
) AS reports
ASOF LEFT JOIN
(
    SELECT priced_log_id, source_partition, health.usage_end AS usage_end, min(recorded_at) AS seen
    FROM health
    WHERE recorded_at >= $__fromTime - INTERVAL 1 DAY AND recorded_at <= $__toTime
    GROUP BY priced_log_id, source_partition, usage_end
) AS ends
ON ends.priced_log_id = reports.priced_log_id AND ends.source_partition = reports.source_partition
    AND ends.usage_end > reports.next
