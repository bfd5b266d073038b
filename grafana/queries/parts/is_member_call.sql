the_dimension = 'global'
OR (the_dimension = 'workload' AND ifNull(workload, '') = the_member)
OR (the_dimension = 'customer' AND ifNull(customer, '') = the_member)
OR (the_dimension = 'team' AND ifNull(team, '') = the_member)
OR (the_dimension = 'project' AND ifNull(project, '') = the_member)
OR (the_dimension = 'provider' AND provider = the_member)
OR (the_dimension = 'model' AND model = the_member)
OR (the_dimension = 'service' AND ifNull(service, '') = the_member)
OR (the_dimension = 'server' AND ifNull(server, '') = the_member)
OR (the_dimension = 'gateway' AND ifNull(gateway, '') = the_member)
OR (the_dimension = 'environment' AND ifNull(environment, '') = the_member)
OR (the_dimension = 'operation' AND operation = the_member)
OR (the_dimension = 'cost_category' AND cost_category = the_member)
OR (the_dimension = 'cache_outcome' AND ifNull(cache_outcome, '') = the_member)
OR (the_dimension = 'region' AND ifNull(region, '') = the_member)
OR (the_dimension = 'service_tier' AND ifNull(service_tier, '') = the_member)
OR (
    -- include is_member_narrow
)
