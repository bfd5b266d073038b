-- The alert log, the latest first.
WITH
    dimension AS the_scope,
    member AS the_member
SELECT
    time AS "Time",
    severity AS "Severity",
    change AS "Change",
    title AS "Alert",
    text AS "Text",
    if(dimension = 'global', 'all spend', dimension) AS "About",
    if(member = '', if(dimension = 'global', '', '(unattributed)'), member) AS "Member",
    toDecimal128OrNull(JSONExtractString(data, 'expected_usd'), 12) AS "Expected",
    toDecimal128OrNull(
        if(JSONHas(data, 'actual_usd'), JSONExtractString(data, 'actual_usd'), JSONExtractString(data, 'spent_usd')), 12
    ) AS "Actual",
    toDecimal128OrNull(JSONExtractString(data, 'limit_usd'), 12) AS "Limit",
    incident AS "Incident",
    -- include page_of_member
FROM alerts FINAL
WHERE $__timeFilter(time)
ORDER BY time DESC, version DESC
LIMIT 200
