-- Every budget (of one for each member: every member), the fullest first.
WITH
    scope AS the_scope,
    member AS the_member
SELECT
    name AS "Budget",
    scope AS "Scope",
    multiIf(scope = 'global', 'all spend', member = '*', 'each that spends', member) AS "Member",
    period AS "Period",
    state AS "State",
    -- On a scale where every budget's first threshold stands at 80, so that one rule colours all of them.
    multiIf(percent >= 100, percent, percent >= warns_at, 80 + (percent - warns_at) * 20 / greatest(100 - warns_at, 1),
            percent * 80 / warns_at) AS "Progress",
    percent AS "Percent",
    spent_usd AS "Spent",
    limit_usd AS "Limit",
    greatest(limit_usd - spent_usd, 0) AS "Left",
    warns_at AS "Warns at",
    forecast_usd AS "Forecast",
    if(breach_p50 > $__toTime, dateDiff('second', $__toTime, breach_p50), NULL) AS "Time to breach",
    if(breach_p90 > $__toTime, dateDiff('second', $__toTime, breach_p90), NULL) AS "At the earliest",
    resets_at AS "Resets",
    as_of AS "As of",
    -- include page_of_member
FROM
(
    -- include budget_states
)
ORDER BY percent DESC, name, member
LIMIT 1000
