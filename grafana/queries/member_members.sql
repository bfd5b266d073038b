-- The members of the dimension in the range, the dearest first; what bears none of them is always there.
WITH decodeURLComponent('${dimension:percentencode}') AS the_dimension
SELECT if(member = '', '(unattributed)', member) AS name
-- include dimension_members
