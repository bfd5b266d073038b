multiIf(
    the_dimension = 'user', ifNull(user, ''),
    the_dimension = 'workflow', ifNull(workflow, ''),
    the_dimension = 'agent', ifNull(agent, ''),
    the_dimension = 'api_key_id', ifNull(api_key_id, ''),
    the_dimension = 'release', ifNull(release, ''),
    tags[substring(the_dimension, 6)]
)
