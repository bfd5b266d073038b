SELECT
    time AS quarter, provider, model, service_tier, workload, customer, team, project, service, server, gateway,
    environment, calls, input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens,
    audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, cost_input, cost_cache_read,
    cost_cache_write, cost_output, cost_audio, cost_image, cost_quantities, cost_total
FROM usage_15m
WHERE
    -- include in_either_stretch
    AND (
        -- include is_member_15m
    )
UNION ALL
-- Users, workflows, agents, keys, releases and tags have no rollup with models and tokens.
SELECT
    toStartOfFifteenMinutes(time) AS quarter, provider, model, ifNull(service_tier, ''), ifNull(workload, ''),
    ifNull(customer, ''), ifNull(team, ''), ifNull(project, ''), ifNull(service, ''), ifNull(server, ''),
    ifNull(gateway, ''), ifNull(environment, ''), toInt64(1), ifNull(input_tokens, 0), ifNull(output_tokens, 0),
    ifNull(cache_read_input_tokens, 0), ifNull(cache_creation_input_tokens, 0), ifNull(audio_input_tokens, 0),
    ifNull(audio_output_tokens, 0), ifNull(image_input_tokens, 0), ifNull(image_output_tokens, 0),
    ifNull(cost_input, 0), ifNull(cost_cache_read, 0), ifNull(cost_cache_write, 0), ifNull(cost_output, 0),
    ifNull(cost_audio, 0), ifNull(cost_image, 0), ifNull(cost_quantities, 0), ifNull(cost_total, 0)
FROM usage
WHERE
    -- include in_either_stretch
    AND (
        -- include is_member_narrow
    )
