-- Spend over time by member: the ten that cost most, and the rest together.
WITH
    -- include asked_group
    , spent AS
    (
        -- include explorer_calls
    )
-- include leaders_over_time
