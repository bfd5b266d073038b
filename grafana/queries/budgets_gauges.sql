-- The fullest budgets, in percent of their limits.
SELECT
    if(member IN ('', '*'), name, concat(name, ': ', member)) AS "Budget",
    percent AS "Percent"
FROM
(
    -- include budget_states
)
ORDER BY percent DESC, "Budget"
LIMIT 10
