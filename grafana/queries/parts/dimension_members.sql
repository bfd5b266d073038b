FROM
(
    SELECT
        -- include member_name_15m
        AS member,
        sum(cost_total) AS cost
    FROM usage_15m
    WHERE $__timeFilter(time) AND NOT
        -- include is_narrow
    GROUP BY member
    UNION ALL
    SELECT member, sum(cost_total) AS cost
    FROM members_15m
    WHERE dimension = the_dimension AND $__timeFilter(time)
    GROUP BY member
    UNION ALL
    SELECT '', toDecimal128(0, 12)
)
GROUP BY member
ORDER BY sum(cost) DESC, member
LIMIT 1000
