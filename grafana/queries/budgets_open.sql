-- Incidents that are open at the range's end, by their latest severity.
SELECT
    countIf(latest_severity = 'critical') AS "Critical",
    countIf(latest_severity = 'major') AS "Major",
    countIf(latest_severity = 'minor') AS "Minor"
FROM
(
    SELECT argMax(change, (time, version)) AS latest_change, argMax(severity, (time, version)) AS latest_severity
    FROM alerts FINAL
    WHERE time <= $__toTime AND (type LIKE 'spend.budget.%' OR type LIKE 'spend.anomaly.%')
    GROUP BY log_id, incident
)
WHERE latest_change NOT IN ('closed', 'resolved', 'retracted')
