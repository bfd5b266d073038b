-- What became of each alert on each channel, the latest first.
SELECT
    deliveries.at AS "Time",
    deliveries.channel AS "Channel",
    deliveries.state AS "State",
    deliveries.attempts AS "Attempts",
    deliveries.last_error AS "Last error",
    if(told.title = '', deliveries.alert_id, told.title) AS "Alert",
    told.severity AS "Severity"
FROM (SELECT * FROM deliveries FINAL WHERE $__timeFilter(at)) AS deliveries
LEFT JOIN
(
    SELECT id, any(title) AS title, any(severity) AS severity
    FROM alerts FINAL
    WHERE id IN (SELECT alert_id FROM deliveries WHERE $__timeFilter(at))
    GROUP BY id
) AS told ON told.id = deliveries.alert_id
ORDER BY deliveries.at DESC, deliveries.alert_id, deliveries.channel
LIMIT 200
