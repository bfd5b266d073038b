-- Spend by the hour beside what is usual at that hour of the week.
WITH
    -- include asked_member
    ,
    -- include member_hours
SELECT
    toTimeZone(
        multiIf(
            $__interval_s <= 3600, at,
            $__interval_s < 86400, toStartOfInterval(at, toIntervalSecond($__interval_s)),
            toDateTime(toStartOfDay(at), zone)),
        'UTC') AS time,
    sum(spent) AS "Spend",
    if(countIf(usual IS NULL) > 0, NULL, sum(usual)) AS "Usual"
FROM hours
GROUP BY time
ORDER BY time
