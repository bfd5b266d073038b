-- Calls that ended in an error, and those that did not.
WITH
    -- include asked_member
SELECT
    $__timeInterval(member.time) AS time,
    sum(calls) - sum(errors) AS "Answered",
    sum(errors) AS "Errors"
FROM
(
    -- include member_15m
) AS member
WHERE $__timeFilter(member.time)
GROUP BY time
HAVING sum(calls) > 0
ORDER BY time
