-- Spend of each of the 30 days up to the range's end, in the organisation's time zone; days without calls are 0.
WITH
    ${tz:singlequote} AS zone,
    toDate(toTimeZone($__toTime, zone)) AS today
SELECT
    toTimeZone(toDateTime(day, zone), 'UTC') AS time,
    cost AS "Cost"
FROM
(
    SELECT
        toDate(toTimeZone(usage_15m.time, zone)) AS day,
        sum(cost_total) AS cost
    FROM usage_15m
    WHERE usage_15m.time >= toDateTime(today - 29, zone) AND usage_15m.time <= $__toTime
    GROUP BY day
    ORDER BY day WITH FILL FROM today - 29 TO today + 1
)
ORDER BY time
