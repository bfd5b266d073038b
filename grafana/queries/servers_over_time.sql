-- Spend over time by server: the ten that cost most, and the rest together.
WITH
    spent AS
    (
        SELECT time AS quarter, server AS member, cost_total AS cost
        FROM usage_15m
        WHERE $__timeFilter(time)
            -- include filters
    )
-- include leaders_over_time
