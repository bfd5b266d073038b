-- The two stretches, as clocks of the organisation show them.
WITH
    -- include change_stretches
SELECT
    formatDateTime(toTimeZone(before_start, zone), '%F %R') AS "Before, from",
    formatDateTime(toTimeZone(before_end, zone), '%F %R') AS "Before, to",
    formatDateTime(toTimeZone(this_start, zone), '%F %R') AS "This range, from",
    formatDateTime(toTimeZone(this_end, zone), '%F %R') AS "This range, to"
