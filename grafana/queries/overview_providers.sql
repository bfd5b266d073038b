-- Spend over time by provider: the ten that cost most, and the rest together.
WITH
    spent AS
    (
        SELECT time AS quarter, provider AS member, cost_total AS cost
        FROM usage_15m
        WHERE $__timeFilter(time)
    )
-- include leaders_over_time
