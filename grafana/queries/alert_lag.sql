-- Seconds for which the oldest event that is not counted yet has been waiting, as of the latest reports in the range.
SELECT max(seconds) AS value
FROM
(
    -- include health_latest
)
