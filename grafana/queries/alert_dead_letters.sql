-- Dead letters of all events that were decided in the range, in percent.
SELECT sum(arraySum(mapValues(dead))) * 100 / greatest(sum(events), 1) AS value
FROM
(
    -- include health_steps
)
WHERE $__timeFilter(recorded_at)
