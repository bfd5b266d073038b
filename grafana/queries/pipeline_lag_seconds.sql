-- For how long the oldest event that is not counted yet has been waiting, at the worst.
SELECT
    $__timeInterval(recorded_at) AS time,
    max(seconds) AS "The oldest waits"
FROM
(
    -- include health_waiting
)
GROUP BY time
ORDER BY time
