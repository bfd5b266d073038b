-- Mean duration of the calls that say how long they took.
WITH
    -- include asked_member
SELECT
    $__timeInterval(detail.time) AS time,
    sum(duration_ms) / nullIf(sum(timed_calls), 0) AS "Mean latency"
FROM
(
    -- include member_detail
) AS detail
GROUP BY time
ORDER BY time
