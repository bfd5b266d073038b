-- Incidents of budgets and anomalies that are not over at the range's end: those whose last change is no end.
SELECT
    countIf(last_change NOT IN ('retracted', 'resolved', 'closed')) AS "Open",
    countIf(last_change NOT IN ('retracted', 'resolved', 'closed') AND last_severity = 'critical') AS "Critical"
FROM
(
    SELECT
        argMax(change, (time, version)) AS last_change,
        argMax(severity, (time, version)) AS last_severity
    FROM alerts FINAL
    WHERE time <= $__toTime AND (type LIKE 'spend.budget.%' OR type LIKE 'spend.anomaly.%')
    GROUP BY log_id, incident
)
