-- What the month will have cost at its end: the method of streams/spend/forecast.py on the organisation's whole days.
-- Amounts are whole picodollars, factors whole millionths. `past` is the days before an origin, the latest first; the
-- last origin is today, the others are past days on which the method is tried. A weekday is told by its days back:
-- 1 is yesterday's, 7 today's.
WITH
    ${tz:singlequote} AS zone,
    1000000 AS one,
    toDate(toTimeZone($__toTime, zone)) AS today,
    toStartOfMonth(today) AS first_day,
    toInt64(first_day + INTERVAL 1 MONTH - today) AS days_left,
    assumeNotNull((SELECT min(time) FROM usage_15m)) AS since,
    -- the first whole day that has data; without any there is none
    if(since = toDateTime(0, 'UTC'), today,
       least(today, greatest(today - 120, toDate(toTimeZone(since - 1, zone)) + 1))) AS first_known,
    intDiv(($__toTime - toDateTime(today, zone)) * one, toDateTime(today + 1, zone) - toDateTime(today, zone)) AS elapsed,
    (
        SELECT toInt128(sum(cost_total) * 1000000000000)
        FROM usage_15m
        WHERE time >= toDateTime(first_day, zone) AND time <= $__toTime
    ) AS spent,
    (values -> arraySort(values)[intDiv(length(values) + 1, 2)]) AS median_low,
    daily AS
    (
        SELECT groupArray(picos) AS days, toInt64(length(days)) AS known
        FROM
        (
            SELECT toDate(toTimeZone(time, zone)) AS day, toInt128(sum(cost_total) * 1000000000000) AS picos
            FROM usage_15m
            WHERE time >= toDateTime(first_known, zone) AND time < toDateTime(today, zone)
            GROUP BY day
            ORDER BY day WITH FILL FROM first_known TO today
        )
    ),
    origins AS  -- weeks: up to eight before the origin that cost something; shares: of each weekday in them
    (
        SELECT
            origin = known AS is_today,
            arrayReverse(arraySlice(days, 1, origin)) AS past,
            arraySlice(days, origin + 1, days_left) AS actual,
            arrayFilter(week -> arraySum(week) > 0, arrayMap(
                n -> arraySlice(past, 7 * n + 1, 7),
                range(least(intDiv(origin, 7), 8)))) AS weeks,
            arrayMap(
                back -> if(empty(weeks), one, median_low(arrayMap(
                    week -> intDiv(7 * week[back] * one, arraySum(week)), weeks))),
                range(1, 8)) AS shares,
            median_low(arrayMap(
                back -> intDiv(past[back] * one, greatest(shares[(back - 1) % 7 + 1], 1)),
                range(1, 15))) AS level,
            arrayMap(ahead -> intDiv(level * shares[7 - ahead % 7], one), range(days_left)) AS expected,
            if(is_today, expected[1] - intDiv(expected[1] * (one - elapsed), one), 0) AS passed
        FROM daily
        ARRAY JOIN range(greatest(14, known - 56), known + 1) AS origin
    ),
    horizons AS  -- of each number of days ahead: what is expected, and actual to expected on past days
    (
        SELECT
            ahead,
            anyIf(expectation, is_today) AS expectation_now,
            arraySort(groupArrayIf(
                intDiv(arraySum(arraySlice(actual, 1, ahead)) * one, greatest(expectation, 1)),
                length(actual) >= ahead AND expectation > 0)) AS ratios,
            toInt64(length(ratios)) AS trials,
            greatest(1, least(trials, intDiv(2 * trials, ahead))) AS independent,
            least(intDiv(9 * (independent + 1) * trials + 10 * independent - 1, 10 * independent), trials) AS rank,
            if(trials < 8, one, ratios[intDiv(trials + 1, 2)]) AS half,
            if(trials < 8, greatest(1600000, arrayMax(ratios)), ratios[rank]) AS most
        FROM
        (
            SELECT ahead, is_today, actual, arraySum(arraySlice(expected, 1, ahead)) - passed AS expectation
            FROM origins
            ARRAY JOIN range(1, days_left + 1) AS ahead
        )
        GROUP BY ahead
    ),
    greatest(spent, max(spent + intDiv(expectation_now * half, one))) AS p50_picos,
    greatest(p50_picos, max(spent + intDiv(expectation_now * most, one))) AS p90_picos
SELECT
    if(count() = 0, NULL, toDecimal256(p50_picos, 12) / 1000000000000) AS "Half (p50)",
    if(argMax(trials, ahead) < 8, NULL, toDecimal256(p90_picos, 12) / 1000000000000) AS "Nine in ten (p90)"
FROM horizons
