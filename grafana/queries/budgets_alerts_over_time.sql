-- Alerts by severity.
SELECT
    $__timeInterval(alerts.time) AS time,
    toString(severity) AS severity,
    count() AS alerts
FROM alerts FINAL
WHERE $__timeFilter(alerts.time)
GROUP BY time, severity
ORDER BY time, severity
