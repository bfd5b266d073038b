if(sum(priced_calls) = 0 AND sum(all_calls) > 0, NULL, sum(cost)) AS "Cost",
sum(cost) / nullIf(sum(sum(cost)) OVER (), 0) AS "Share",
sum(all_calls) AS "Calls",
sum(all_tokens) AS "Tokens",
sum(all_calls) - sum(priced_calls) AS "Unpriced"
