-- Calls that came to the log later than a minute and later than an hour after their end, by their end.
SELECT
    $__timeInterval(usage.time) AS time,
    countIf(dateDiff('second', usage.time, record_time) BETWEEN 60 AND 3599) AS "Over a minute late",
    countIf(dateDiff('second', usage.time, record_time) >= 3600) AS "Over an hour late"
FROM usage
WHERE $__timeFilter(usage.time)
GROUP BY time
ORDER BY time
