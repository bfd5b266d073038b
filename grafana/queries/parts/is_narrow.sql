(the_dimension IN ('user', 'workflow', 'agent', 'api_key_id', 'release') OR startsWith(the_dimension, 'tags.'))
