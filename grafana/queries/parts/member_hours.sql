${tz:singlequote} AS zone,
toStartOfHour(toTimeZone($__fromTime, zone)) AS first_hour,
-- What was spent at an hour counts for itself and for the same hour of the next four weeks, as clocks show it. The
-- hours of the range are there even where nothing was spent.
bearing AS
(
    SELECT addWeeks(hour, week) AS later, week, sum(cost) AS cost, min(called) AS called
    FROM
    (
        SELECT toStartOfHour(time, zone) AS hour, sum(quarters.cost) AS cost, if(sum(calls) > 0, hour, NULL) AS called,
               [0, 1, 2, 3, 4] AS weeks
        FROM
        (
            -- include member_15m
        ) AS quarters
        WHERE time >= addWeeks(first_hour, -4) AND time <= $__toTime
        GROUP BY hour
        UNION ALL
        SELECT DISTINCT toStartOfHour(toDateTime(number * 900, zone)), toDecimal128(0, 12), NULL, [0]
        FROM numbers(intDiv(toUnixTimestamp(first_hour), 900),
                     intDiv(toUnixTimestamp($__toTime), 900) - intDiv(toUnixTimestamp(first_hour), 900) + 1)
    )
    ARRAY JOIN weeks AS week
    GROUP BY later, week
),
-- The median of the weeks since the member's first call; a week without one counts as nothing spent.
hours AS
(
    SELECT
        later AS at,
        spent,
        first_call,
        arrayCount(back -> addWeeks(later, -back) >= first_call, [1, 2, 3, 4]) AS weeks,
        greatest(weeks, length(costs)) AS size,
        arraySort(arrayResize(costs, size, toDecimal128(0, 12))) AS sorted,
        if(weeks = 0, NULL, (sorted[intDiv(size + 1, 2)] + sorted[intDiv(size + 2, 2)]) / 2) AS usual
    FROM
    (
        SELECT later, sumIf(cost, week = 0) AS spent, groupArrayIf(cost, week > 0 AND called IS NOT NULL) AS costs,
               min(min(called)) OVER () AS first_call
        FROM bearing
        GROUP BY later
    )
    WHERE later >= first_hour AND later <= $__toTime AND first_call IS NOT NULL
)
