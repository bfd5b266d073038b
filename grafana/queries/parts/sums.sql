sum(cost_total) AS cost,
sum(calls) AS all_calls,
sumIf(calls, pricing_status != 'unpriced') AS priced_calls,
sum(input_tokens + output_tokens) AS all_tokens
