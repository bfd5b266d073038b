-- Of the calls that say whether a cache answered: the share of hits.
WITH
    -- include asked_member
SELECT
    $__timeInterval(detail.time) AS time,
    sumIf(calls, cache_outcome = 'hit') / nullIf(sumIf(calls, cache_outcome IN ('hit', 'miss')), 0) AS "Cache hit rate"
FROM
(
    -- include member_detail
) AS detail
GROUP BY time
ORDER BY time
