-- Deliveries by channel and state.
SELECT
    channel AS "Channel",
    countIf(state = 'delivered') AS "Delivered",
    countIf(state = 'pending') AS "Pending",
    countIf(state = 'failed') AS "Failed",
    countIf(state = 'suppressed') AS "Suppressed",
    countIf(state = 'summarised') AS "Summarised"
FROM deliveries FINAL
WHERE $__timeFilter(at)
GROUP BY channel
ORDER BY channel
