-- Dead letters by reason: within the range, and of all blocks that the sink has inserted.
SELECT
    reason AS "Reason",
    sumIf(letters, of = 'range') AS "In this range",
    sumIf(letters, of = 'ever') AS "Ever"
FROM
(
    SELECT 'range' AS of, entry.1 AS reason, toUInt64(entry.2) AS letters
    FROM
    (
        -- include health_steps
    )
    ARRAY JOIN CAST(dead, 'Array(Tuple(String, UInt64))') AS entry
    WHERE $__timeFilter(recorded_at)
    UNION ALL
    SELECT 'ever', entry.1, entry.2
    FROM (SELECT * FROM progress FINAL)
    ARRAY JOIN CAST(dead_letters, 'Array(Tuple(String, UInt64))') AS entry
)
GROUP BY reason
ORDER BY "In this range" DESC, "Ever" DESC, reason
