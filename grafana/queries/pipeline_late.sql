-- How long after its end a call of this range came to the log.
SELECT
    ['within 10 s', 'within a minute', 'within 5 minutes', 'within an hour', 'within a day', 'later'][stretch]
        AS "Came",
    count() AS "Calls",
    count() / sum(count()) OVER () AS "Share"
FROM
(
    SELECT dateDiff('second', time, record_time) AS late,
           multiIf(late < 10, 1, late < 60, 2, late < 300, 3, late < 3600, 4, late < 86400, 5, 6) AS stretch
    FROM usage
    WHERE $__timeFilter(time)
)
GROUP BY stretch
ORDER BY stretch
