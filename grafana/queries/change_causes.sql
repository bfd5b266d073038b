-- What the change is made of; the parts sum to it to the picodollar.
WITH
    -- include asked_member
    ,
    -- include change_stretches
    ,
    -- include change_causes
SELECT
    cause AS "Cause",
    toDecimal128(toDecimal256(part, 12) / dollar, 12) AS "Change",
    toFloat64(part) * 100 / nullIf(toFloat64(abs(was)), 0) AS "Of the spend before",
    meaning AS "What it means"
FROM moves
ARRAY JOIN
    ['Volume', 'Model mix', 'Tier mix', 'Tokens per call', 'Cache', 'Price'] AS cause,
    ['more or fewer calls', 'calls went to dearer or cheaper models', 'to dearer or cheaper service tiers',
     'longer or shorter prompts and answers', 'more or less of the prompts came from the cache',
     'another price for the same use'] AS meaning,
    parts AS part
WHERE was != 0 OR is_now != 0
