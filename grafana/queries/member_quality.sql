-- Mean latency, errors and cache hits of the member's calls in the range.
WITH
    -- include asked_member
SELECT
    sum(duration_ms) / nullIf(sum(timed_calls), 0) AS "Mean latency",
    sum(errors) / sum(calls) AS "Errors",
    sumIf(calls, cache_outcome = 'hit') / nullIf(sumIf(calls, cache_outcome IN ('hit', 'miss')), 0) AS "Cache hit rate"
FROM
(
    -- include member_detail
)
HAVING sum(calls) > 0
