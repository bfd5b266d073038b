-- Spend and calls of both stretches.
WITH
    -- include asked_member
    ,
    -- include change_stretches
SELECT
    sumIf(cost_total, quarter >= before_start AND quarter < before_end) AS "Before",
    sumIf(cost_total, quarter >= this_start AND quarter < this_end) AS "This range",
    "This range" - "Before" AS "Change",
    "Change" * 100 / nullIf("Before", 0) AS "Change in percent",
    sumIf(calls, quarter >= before_start AND quarter < before_end) AS "Calls before",
    sumIf(calls, quarter >= this_start AND quarter < this_end) AS "Calls in this range"
FROM
(
    -- include change_rows
)
HAVING count() > 0
