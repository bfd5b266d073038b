arrayConcat(
    ['workload', 'customer', 'team', 'project', 'user', 'provider', 'model', 'service', 'server', 'gateway',
     'environment', 'workflow', 'agent', 'api_key_id', 'release', 'operation', 'cost_category', 'cache_outcome',
     'region', 'service_tier'],
    (
        SELECT arraySort(groupUniqArray(100)(toString(dimension)))
        FROM members_15m
        WHERE startsWith(dimension, 'tags.') AND $__timeFilter(time)
    )
)
