-- Anomalies of the member, each from its first window to its latest.
WITH
    -- include asked_member
SELECT
    min(parseDateTime64BestEffort(JSONExtractString(data, 'since'), 3, 'UTC')) AS time,
    max(parseDateTime64BestEffort(JSONExtractString(data, 'until'), 3, 'UTC')) AS "timeEnd",
    argMax(alerts.title, (alerts.time, version)) AS title,
    argMax(alerts.text, (alerts.time, version)) AS text,
    argMax(concat('anomaly,', severity), (alerts.time, version)) AS tags
FROM alerts FINAL
WHERE type LIKE 'spend.anomaly.%' AND $__timeFilter(alerts.time) AND (
    (dimension = the_dimension AND member = the_member)
    OR (dimension = 'tag' AND startsWith(the_dimension, 'tags.')
        AND member = concat(substring(the_dimension, 6), '=', the_member)))
GROUP BY log_id, incident
ORDER BY time
