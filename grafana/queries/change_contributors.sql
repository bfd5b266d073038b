-- Members of the other dimensions by how much their spend differs, the greatest difference first. A dimension that has
-- one member alone explains nothing.
WITH
    -- include asked_member
    ,
    -- include change_stretches
SELECT
    bearer.1 AS "Dimension",
    if(bearer.2 = '', '(unattributed)', bearer.2) AS "Member",
    sumIf(cost_total, quarter >= before_start AND quarter < before_end) AS "Before",
    sumIf(cost_total, quarter >= this_start AND quarter < this_end) AS "This range",
    "This range" - "Before" AS "Change"
FROM
(
    -- include change_rows
)
ARRAY JOIN arrayFilter(
    each -> each.1 != the_dimension,
    [('workload', toString(workload)), ('customer', toString(customer)), ('team', toString(team)),
     ('project', toString(project)), ('provider', toString(provider)), ('model', toString(model)),
     ('service', toString(service)), ('server', toString(server)), ('gateway', toString(gateway)),
     ('environment', toString(environment))]) AS bearer
GROUP BY bearer
QUALIFY count() OVER (PARTITION BY "Dimension") > 1 AND "Change" != 0
ORDER BY abs("Change") DESC, "Dimension", "Member"
LIMIT 50
