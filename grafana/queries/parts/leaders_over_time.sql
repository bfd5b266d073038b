-- Of `spent` (quarter, member, cost): the ten members that cost most over time, and the rest together.
, (
    SELECT groupArray(member)
    FROM (SELECT member FROM spent GROUP BY member ORDER BY sum(spent.cost) DESC, member LIMIT 10)
) AS leaders
SELECT
    time,
    multiIf(place = 0, '(others)', leaders[place] = '', '(unattributed)', leaders[place]) AS name,
    cost
FROM
(
    SELECT
        -- include zone_steps
        AS time,
        indexOf(leaders, member) AS place,
        sum(spent.cost) AS cost
    FROM spent
    GROUP BY time, place
)
ORDER BY time, name
