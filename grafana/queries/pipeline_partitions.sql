-- Where each partition is.
SELECT
    source_partition AS "Partition",
    usage_end AS "End of the log",
    mark + 1 AS "Counted up to",
    waiting AS "Events waiting",
    seconds AS "The oldest waits",
    if(mark < 0, NULL, event_time_max) AS "Watermark",
    reported_at AS "Last report"
FROM
(
    -- include health_latest
)
ORDER BY source_partition
