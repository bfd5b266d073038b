-- The members of the dimension in the range, the dearest first; what bears none of them is always there. All spend has
-- no members.
WITH decodeURLComponent('${dimension:percentencode}') AS the_dimension
SELECT multiIf(the_dimension = 'global', '(all)', member = '', '(unattributed)', member) AS name
-- include dimension_members
