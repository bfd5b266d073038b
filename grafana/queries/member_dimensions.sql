-- What a member may be a member of; a tag as tags.<key>.
SELECT arrayJoin(
    -- include dimensions
) AS dimension
