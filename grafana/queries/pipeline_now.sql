-- Where the pipeline is, as of the range's end.
SELECT
    sum(waiting) AS "Events waiting",
    max(seconds) AS "The oldest waits",
    dateDiff('second', min(reported_at), $__toTime) AS "Last report",
    count() AS "Partitions"
FROM
(
    -- include health_latest
)
HAVING count() > 0
