-- Cost of the twenty servers that cost most.
SELECT if(server = '', '(unattributed)', server) AS "Server", sum(cost_total) AS "Cost"
FROM usage_15m
WHERE $__timeFilter(time)
    -- include filters
GROUP BY server
ORDER BY "Cost" DESC, server
LIMIT 20
