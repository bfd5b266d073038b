-- Hours for two days at most, days for 400, else months: those of the organisation.
toTimeZone(
    multiIf(
        $__toTime - $__fromTime <= 2 * 86400, toStartOfHour(quarter, ${tz:singlequote}),
        $__toTime - $__fromTime <= 400 * 86400, toStartOfDay(quarter, ${tz:singlequote}),
        toDateTime(toStartOfMonth(quarter, ${tz:singlequote}), ${tz:singlequote})
    ),
    'UTC'
)
