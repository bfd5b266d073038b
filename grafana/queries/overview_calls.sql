-- Calls and tokens of the range, and the calls of as long a time right before it.
WITH
    $__fromTime - ($__toTime - $__fromTime) AS previous_start,
    (SELECT min(time) FROM usage_15m) AS since,
    sumIf(calls, time < $__fromTime) AS calls_before
SELECT
    sumIf(calls, time >= $__fromTime) AS "Calls",
    if(since < previous_start + INTERVAL 1 DAY, toDecimal128("Calls" - calls_before, 9) * 100 / nullIf(calls_before, 0), NULL) AS "Change",
    sumIf(input_tokens + output_tokens, time >= $__fromTime) AS "Tokens"
FROM usage_15m
WHERE time >= previous_start AND time <= $__toTime
