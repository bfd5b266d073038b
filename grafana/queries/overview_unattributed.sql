-- Share of the range's spend that names no workload, no customer, no team.
WITH nullIf(sum(cost_total), 0) AS whole
SELECT
    sumIf(cost_total, workload = '') / whole AS "No workload",
    sumIf(cost_total, customer = '') / whole AS "No customer",
    sumIf(cost_total, team = '') / whole AS "No team"
FROM usage_15m
WHERE $__timeFilter(time)
