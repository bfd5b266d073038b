SELECT
    step AS time,
    multiIf(place > 10, '(others)', member = '', '(unattributed)', member) AS name,
    sum(cost) AS cost
FROM
(
    SELECT step, member, cost, dense_rank() OVER (ORDER BY whole DESC, member) AS place
    FROM
    (
        SELECT
            -- include zone_steps
            AS step,
            member,
            sum(spent.cost) AS cost,
            sum(sum(spent.cost)) OVER (PARTITION BY member) AS whole
        FROM spent
        GROUP BY step, member
    )
)
GROUP BY time, name
ORDER BY time, name
