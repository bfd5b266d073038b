-- How much hangs on how few: the largest provider's share, and as how many equal providers the spend is spread
-- (1 / the sum of squared shares, the inverse of the Herfindahl-Hirschman index).
SELECT
    max(share) AS "Largest provider",
    1 / sum(toFloat64(share) * toFloat64(share)) AS "As many equal providers",
    count() AS "Providers"
FROM
(
    SELECT sum(cost_total) / nullIf(sum(sum(cost_total)) OVER (), 0) AS share
    FROM usage_15m
    WHERE $__timeFilter(time)
        -- include filters
    GROUP BY provider
)
HAVING sum(share) > 0
