-- All spend, or what a member may be a member of; a tag as tags.<key>.
SELECT arrayJoin(arrayPushFront(
    -- include dimensions
    , 'global'
)) AS dimension
