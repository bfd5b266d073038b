-- Cost of the fifteen services that cost most.
SELECT if(service = '', '(unattributed)', service) AS "Service", sum(cost_total) AS "Cost"
FROM usage_15m
WHERE $__timeFilter(time)
    -- include filters
GROUP BY service
ORDER BY "Cost" DESC, service
LIMIT 15
