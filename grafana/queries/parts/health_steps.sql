-- What the sink reported, each time with what was done since its report before.
SELECT
    recorded_at, priced_log_id, source_partition, usage_end, mark, event_time_max,
    greatest(mark - lagInFrame(mark, 1, mark) OVER reports, 0) AS events,
    toUInt64(greatest(toInt64(rows) - toInt64(lagInFrame(rows, 1, rows) OVER reports), 0)) AS new_rows,
    toUInt64(greatest(toInt64(blocks) - toInt64(lagInFrame(blocks, 1, blocks) OVER reports), 0)) AS new_blocks,
    toUInt64(greatest(toInt64(duplicates) - toInt64(lagInFrame(duplicates, 1, duplicates) OVER reports), 0)) AS repeats,
    toUInt64(greatest(toInt64(misrouted) - toInt64(lagInFrame(misrouted, 1, misrouted) OVER reports), 0)) AS astray,
    -- a sink that was replaced may report once more, what it knows is older then
    if(events > 0, mapSubtract(dead_letters, lagInFrame(dead_letters, 1, dead_letters) OVER reports), map()) AS dead
FROM health
WHERE recorded_at >= $__fromTime - INTERVAL 1 MINUTE AND recorded_at <= $__toTime
WINDOW reports AS (PARTITION BY priced_log_id, source_partition ORDER BY recorded_at
                   ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
