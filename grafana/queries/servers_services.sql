-- Services by cost, and always what names none.
SELECT
    if(member = '', '(unattributed)', member) AS "Service",
    -- include figures
FROM
(
    SELECT
        service AS member,
        -- include sums
    FROM usage_15m
    WHERE $__timeFilter(time)
        -- include filters
    GROUP BY member
    UNION ALL
    SELECT '', toDecimal128(0, 12), 0, 0, 0
)
GROUP BY member
QUALIFY sum("Calls") OVER () > 0
ORDER BY sum(cost) DESC, "Calls" DESC, member
LIMIT 100 BY member = ''
