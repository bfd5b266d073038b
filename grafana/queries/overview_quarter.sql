-- Spend of the quarter that the range's end lies in, up to it, and of the same stretch of the quarter before: as many days,
-- to the same time of day (streams/periods.py). No change where data does not reach back that far.
WITH
    ${tz:singlequote} AS zone,
    toStartOfQuarter(toTimeZone($__toTime, zone)) AS first_day,
    first_day - INTERVAL 1 QUARTER AS previous_first_day,
    -- include period_to_date
