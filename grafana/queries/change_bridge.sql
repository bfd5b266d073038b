-- From the spend before to the spend of this range, a bar a cause.
WITH
    -- include asked_member
    ,
    -- include change_stretches
    ,
    -- include change_causes
SELECT
    cause AS "Cause",
    if(part > 0, toDecimal128(toDecimal256(part, 12) / dollar, 12), NULL) AS "More",
    if(part < 0, toDecimal128(toDecimal256(part, 12) / dollar, 12), NULL) AS "Less"
FROM moves
ARRAY JOIN
    ['Volume', 'Model mix', 'Tier mix', 'Tokens per call', 'Cache', 'Price'] AS cause,
    parts AS part
WHERE was != 0 OR is_now != 0
