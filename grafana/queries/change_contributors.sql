-- Members of the other dimensions by how much their spend differs, the greatest difference first. A dimension that has
-- one member alone explains nothing.
WITH
    -- include asked_member
    ,
    -- include change_stretches
SELECT
    dimension AS "Dimension",
    if(member = '', '(unattributed)', member) AS "Member",
    before AS "Before",
    after AS "This range",
    after - before AS "Change"
FROM
(
    SELECT
        arrayFirstIndex(
            summed -> NOT summed,
            [grouping(workload), grouping(customer), grouping(team), grouping(project), grouping(provider),
             grouping(model), grouping(service), grouping(server), grouping(gateway), grouping(environment)]) AS place,
        ['workload', 'customer', 'team', 'project', 'provider', 'model', 'service', 'server', 'gateway',
         'environment'][place] AS dimension,
        [toString(workload), toString(customer), toString(team), toString(project), toString(provider),
         toString(model), toString(service), toString(server), toString(gateway), toString(environment)][place]
            AS member,
        sumIf(cost_total, quarter >= before_start AND quarter < before_end) AS before,
        sumIf(cost_total, quarter >= this_start AND quarter < this_end) AS after
    FROM
    (
        -- include change_rows
    )
    GROUP BY GROUPING SETS (
        (workload), (customer), (team), (project), (provider), (model), (service), (server), (gateway), (environment))
)
WHERE dimension != the_dimension
QUALIFY count() OVER (PARTITION BY dimension) > 1 AND after != before
ORDER BY abs(after - before) DESC, dimension, member
LIMIT 50
