-- The member page calls a tag by its key, where budgets and alerts have key=value.
if(the_scope = 'tag', concat('tags.', substring(the_member, 1, position(the_member, '=') - 1)), the_scope)
    AS page_dimension,
if(the_scope = 'tag', substring(the_member, position(the_member, '=') + 1), the_member) AS page_member
