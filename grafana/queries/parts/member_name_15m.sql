if(the_dimension = 'workload', workload, if(the_dimension = 'customer', customer,
if(the_dimension = 'team', team, if(the_dimension = 'project', project,
if(the_dimension = 'provider', provider, if(the_dimension = 'model', model,
if(the_dimension = 'service', service, if(the_dimension = 'server', server,
if(the_dimension = 'gateway', gateway, if(the_dimension = 'environment', environment,
if(the_dimension = 'operation', operation, if(the_dimension = 'cost_category', cost_category,
if(the_dimension = 'cache_outcome', cache_outcome, if(the_dimension = 'region', region,
if(the_dimension = 'service_tier', service_tier, '')))))))))))))))
