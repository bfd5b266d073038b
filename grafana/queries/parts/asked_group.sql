if(
    decodeURLComponent('${group_by:percentencode}') = 'tag',
    concat('tags.', decodeURLComponent('${tag_key:percentencode}')),
    decodeURLComponent('${group_by:percentencode}')
) AS the_dimension
