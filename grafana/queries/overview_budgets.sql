-- Budgets, and how many of them have reached a threshold or their limit in a period that is not over at the range's end.
SELECT
    uniqExactIf(budget_id, state != 'ok' AND resets_at > $__toTime) AS "Over their threshold",
    uniqExactIf(budget_id, state = 'exceeded' AND resets_at > $__toTime) AS "Over their limit",
    (SELECT count() FROM budgets FINAL) AS "Budgets"
FROM budget_status FINAL
