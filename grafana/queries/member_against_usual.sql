-- The range's whole hours against what is usual at those hours of the week.
WITH
    -- include asked_member
    ,
    -- include member_hours
SELECT
    sum(spent) AS "Spend",
    sum(usual) AS "Usual",
    ("Spend" - "Usual") * 100 / nullIf("Usual", 0) AS "Difference"
FROM hours
WHERE usual IS NOT NULL AND at >= $__fromTime AND at + INTERVAL 1 HOUR <= $__toTime
HAVING count() > 0
