-- What became of the events of the range.
SELECT
    sum(events) AS "Events",
    sum(new_rows) AS "Counted",
    sum(repeats) AS "Duplicates dropped",
    sum(arraySum(mapValues(dead))) AS "Dead letters",
    "Dead letters" / nullIf("Events", 0) AS "Dead letters of all",
    sum(astray) AS "Keys on a wrong partition"
FROM
(
    -- include health_steps
)
WHERE $__timeFilter(recorded_at)
HAVING count() > 0
