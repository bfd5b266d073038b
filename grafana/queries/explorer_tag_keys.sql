-- Keys of the tags that calls bore in the range.
SELECT DISTINCT substring(dimension, 6) AS tag_key
FROM members_15m
WHERE startsWith(dimension, 'tags.') AND $__timeFilter(time)
ORDER BY tag_key
LIMIT 1000
