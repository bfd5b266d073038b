-- Budgets by what has become of them; one for each member counts once.
SELECT
    uniqExact(id) AS "Budgets",
    uniqExactIf(id, state != 'ok') AS "Over their threshold",
    uniqExactIf(id, state = 'exceeded') AS "Over their limit"
FROM
(
    -- include budget_states
)
