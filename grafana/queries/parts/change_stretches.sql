-- Whole quarters of an hour, as in the rollups: both stretches from their start up to and without their end.
${tz:singlequote} AS zone,
toDateTime(intDiv(toUnixTimestamp($__fromTime) + 899, 900) * 900, 'UTC') AS this_start,
toDateTime(intDiv(toUnixTimestamp($__toTime), 900) * 900 + 900, 'UTC') AS this_end,
multiIf('${compare:percentencode}' = 'week', 7, '${compare:percentencode}' = 'four_weeks', 28, 0) AS days_back,
if(days_back > 0, toTimeZone(addDays(toTimeZone(this_start, zone), -days_back), 'UTC'),
   this_start - (this_end - this_start)) AS before_start,
if(days_back > 0, toTimeZone(addDays(toTimeZone(this_end, zone), -days_back), 'UTC'), this_start) AS before_end
