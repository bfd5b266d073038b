-- A status is true until its period is over: from then on nothing is spent until the next event says otherwise.
SELECT
    budgets.id AS id,
    JSONExtractString(budgets.value, 'name') AS name,
    JSONExtractString(budgets.value, 'scope') AS scope,
    if(known.budget_id = '', JSONExtractString(budgets.value, 'member'), known.member) AS member,
    JSONExtractString(budgets.value, 'period') AS period,
    toDecimal128OrZero(JSONExtractString(budgets.value, 'limit_usd'), 12) AS limit_usd,
    ifNull(arrayMin(JSONExtract(budgets.value, 'thresholds', 'Array(Nullable(UInt8))')), 100) AS warns_at,
    known.budget_id != '' AND known.resets_at > $__toTime AS runs,
    if(runs, known.state, 'ok') AS state,
    if(runs, known.spent_usd, 0) AS spent_usd,
    if(runs, known.percent, 0) AS percent,
    if(runs, known.forecast_p50_usd, NULL) AS forecast_usd,
    if(runs, known.breach_p50, NULL) AS breach_p50,
    if(runs, known.breach_p90, NULL) AS breach_p90,
    if(runs, known.resets_at, NULL) AS resets_at,
    if(known.budget_id = '', NULL, known.as_of) AS as_of
FROM (SELECT * FROM budgets FINAL) AS budgets
LEFT JOIN (SELECT * FROM budget_status FINAL) AS known ON known.budget_id = budgets.id
