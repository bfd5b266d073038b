${tz:singlequote} AS zone,
toDate(toTimeZone($__toTime, zone)) AS today,
today - toDate(toTimeZone($__fromTime, zone)) AS asked,
(SELECT min(time) FROM usage_15m) AS since,
-- Where data does not reach back twice as far as the range: 14 days, or 7; 0 where it does not for these either.
arrayFirst(n -> n BETWEEN 1 AND asked AND since < toDateTime(today - (2 * n - 1), zone), [asked, 14, 7]) AS days,
toDateTime(today - days, zone) AS middle
