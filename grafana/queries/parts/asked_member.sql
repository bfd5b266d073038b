decodeURLComponent('${dimension:percentencode}') AS the_dimension,
ifNull(nullIf(decodeURLComponent('${member:percentencode}'), '(unattributed)'), '') AS the_member
