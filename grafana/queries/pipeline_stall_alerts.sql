-- What the stream itself told of partitions that stand still and of models without a price.
SELECT
    time AS "Time",
    severity AS "Severity",
    title AS "Alert",
    text AS "Text",
    incident AS "Incident"
FROM alerts FINAL
WHERE $__timeFilter(time) AND type IN ('spend.pipeline.stalled', 'spend.model.unpriced')
ORDER BY time DESC, version DESC
LIMIT 100
