-- The split of streams/spend/change_split.py, in whole numbers: money in picodollars, and where there is a quotient, in
-- units of 1/one of a picodollar. Each term of a sum has one division, so a step is off by less than its terms in these
-- units, and whole picodollars are rounded from it as they are from the exact fraction.
toInt256('1000000000000000000000000') AS one,
toInt256('1000000000000') AS dollar,
summed_rows AS
(
    -- Few rows before any is taken twice: the stretches may overlap.
    SELECT
        provider, model, service_tier,
        quarter >= before_start AND quarter < before_end AS in_before,
        quarter >= this_start AND quarter < this_end AS in_this,
        sum(calls) AS calls, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
        sum(cache_read_input_tokens) AS cache_read_input_tokens,
        sum(cache_creation_input_tokens) AS cache_creation_input_tokens,
        sum(audio_input_tokens) AS audio_input_tokens, sum(audio_output_tokens) AS audio_output_tokens,
        sum(image_input_tokens) AS image_input_tokens, sum(image_output_tokens) AS image_output_tokens,
        sum(cost_input) AS cost_input, sum(cost_cache_read) AS cost_cache_read,
        sum(cost_cache_write) AS cost_cache_write, sum(cost_output) AS cost_output, sum(cost_audio) AS cost_audio,
        sum(cost_image) AS cost_image, sum(cost_quantities) AS cost_quantities
    FROM
    (
        -- include change_rows
    )
    GROUP BY provider, model, service_tier, in_before, in_this
),
usages AS
(
    -- What a model used on a tier, by kind of unit: its amount and its cost. Kinds 1 to 3 are the prompt's.
    SELECT
        provider, model,
        if(lower(trimBoth(service_tier)) IN ('default', 'standard', 'auto', 'on_demand', 'on-demand'), '',
           lower(trimBoth(service_tier))) AS tier,
        stretch = 'this' AS is_this,
        toInt256(sum(calls)) AS calls,
        [greatest(sum(input_tokens) - sum(cache_read_input_tokens) - sum(cache_creation_input_tokens)
                  - sum(audio_input_tokens) - sum(image_input_tokens), 0),
         sum(cache_read_input_tokens),
         sum(cache_creation_input_tokens),
         greatest(sum(output_tokens) - sum(audio_output_tokens) - sum(image_output_tokens), 0),
         sum(audio_input_tokens) + sum(audio_output_tokens),
         sum(image_input_tokens) + sum(image_output_tokens),
         0] AS amounts,
        [sum(cost_input), sum(cost_cache_read), sum(cost_cache_write), sum(cost_output), sum(cost_audio),
         sum(cost_image), sum(cost_quantities)] AS costs
    FROM summed_rows
    ARRAY JOIN ['before', 'this'] AS stretch
    WHERE if(stretch = 'this', in_this, in_before)
    GROUP BY provider, model, tier, is_this
),
sums AS
(
    SELECT
        provider, model, tier, kind,
        sumIf(usages.calls, NOT is_this) AS calls_before,
        sumIf(usages.calls, is_this) AS calls_this,
        sumIf(toInt256(amount), NOT is_this) AS amount_before,
        sumIf(toInt256(amount), is_this) AS amount_this,
        sumIf(toInt256(toDecimal256(cost, 12) * dollar), NOT is_this) AS cost_before,
        sumIf(toInt256(toDecimal256(cost, 12) * dollar), is_this) AS cost_this
    FROM usages
    ARRAY JOIN arrayEnumerate(amounts) AS kind, amounts AS amount, costs AS cost
    GROUP BY provider, model, tier, kind
),
units AS
(
    -- a kind that costs something without an amount in either stretch is billed by the call
    SELECT
        *,
        (cost_before != 0 AND amount_before = 0) OR (cost_this != 0 AND amount_this = 0) AS by_call,
        if(by_call, calls_before, amount_before) AS units_before,
        if(by_call, calls_this, amount_this) AS units_this
    FROM sums
),
kinds AS
(
    -- the units of this range at the prices before; a kind that was not there has this range's price
    SELECT
        *,
        if(units_before != 0, intDiv(one * units_this * cost_before, units_before),
           if(units_this != 0, one * cost_this, 0)) AS cost_at_old_price
    FROM units
),
tier_sums AS
(
    SELECT
        provider, model, tier,
        any(kinds.calls_before) AS calls_before,
        any(kinds.calls_this) AS calls_this,
        sum(kinds.cost_before) AS cost_before,
        sum(kinds.cost_this) AS cost_this,
        sumIf(kinds.cost_before, kind <= 3) AS prompt_cost_before,
        sumIf(units_before, kind <= 3) AS prompt_before,
        sumIf(units_this, kind <= 3) AS prompt_this,
        sumIf(cost_at_old_price, kind > 3) AS without_prompt,
        sum(cost_at_old_price) AS with_cache
    FROM kinds
    GROUP BY provider, model, tier
),
tiers AS
(
    SELECT
        *,
        -- the prompt's tokens of this range, from the cache to the same part as before
        if(prompt_before != 0, intDiv(one * prompt_this * prompt_cost_before, prompt_before) + without_prompt,
           with_cache) AS with_tokens,
        sum(calls_before) OVER (PARTITION BY provider, model) AS model_calls_before,
        sum(calls_this) OVER (PARTITION BY provider, model) AS model_calls_this
    FROM tier_sums
),
-- What all of it would have cost, from the stretch before to this range, one cause after another taking its actual
-- value. A model or tier that was not there before has this range's cost of a call.
step_sums AS
(
    SELECT
        sum(cost_before) AS was,
        sum(cost_this) AS is_now,
        sum(calls_before) AS all_before,
        sum(calls_this) AS all_this,
        sumIf(cost_before, calls_before = 0) AS uncalled,
        sum(multiIf(
            calls_before > 0, intDiv(one * cost_before * model_calls_this, greatest(model_calls_before, 1)),
            model_calls_before = 0 AND calls_this > 0, one * cost_this,
            0)) AS with_models,
        sum(multiIf(
            calls_before > 0, intDiv(one * cost_before * calls_this, greatest(calls_before, 1)),
            calls_this > 0, one * cost_this,
            0)) AS with_tiers,
        sum(multiIf(calls_this = 0, 0, calls_before > 0, with_tokens, one * cost_this)) AS with_all_tokens,
        sum(multiIf(calls_this = 0, 0, calls_before > 0, with_cache, one * cost_this)) AS with_all_cache
    FROM tiers
),
steps AS
(
    SELECT
        was,
        is_now,
        if(all_before = 0 OR all_this = 0 OR was = uncalled,
           [one * is_now, one * is_now, one * is_now, one * is_now, one * is_now],  -- nothing to compare with: volume
           arrayMap(step -> step + one * uncalled,
                    [intDiv(one * (was - uncalled) * all_this, greatest(all_before, 1)), with_models, with_tiers,
                     with_all_tokens, with_all_cache])) AS middle
    FROM step_sums
),
-- Rounded down to whole picodollars, then the greatest remainders up, until the parts sum to the change.
exact AS
(
    SELECT was, is_now, arrayPopFront(arrayDifference(arrayConcat([one * was], middle, [one * is_now]))) AS moves
    FROM steps
),
remaining AS
(
    SELECT was, is_now, moves, arrayMap(move -> positiveModulo(move, one), moves) AS remainders FROM exact
),
floored AS
(
    SELECT
        was,
        is_now,
        arrayMap((move, remainder) -> intDiv(move - remainder, one), moves, remainders) AS floors,
        arraySort(n -> (-intDiv(remainders[n] + 500000, 1000000), n), [1, 2, 3, 4, 5, 6]) AS by_remainder
    FROM remaining
),
moves AS
(
    SELECT
        was,
        is_now,
        arrayMap((part, n) -> part + (indexOf(by_remainder, n) <= is_now - was - arraySum(floors)),
                 floors, [1, 2, 3, 4, 5, 6]) AS parts
    FROM floored
)
