SELECT time, calls, errors, if(pricing_status = 'unpriced', calls, 0) AS unpriced_calls,
       input_tokens + output_tokens AS tokens, cost_total AS cost
FROM usage_15m
WHERE
    -- include is_member_15m
    OR (startsWith(the_dimension, 'tags.') AND the_member = '')
UNION ALL
-- A call without a tag has no row here: those that bear it are taken from all calls.
SELECT time, sign * calls, sign * errors, sign * unpriced_calls,
       sign * (input_tokens + output_tokens), sign * cost_total
FROM
(
    SELECT *, if(startsWith(the_dimension, 'tags.') AND the_member = '', -1, 1) AS sign
    FROM members_15m
    WHERE dimension = the_dimension
      AND if(startsWith(the_dimension, 'tags.') AND the_member = '', member != '', member = the_member)
)
