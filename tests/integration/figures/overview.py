"""The overview's panels."""

from collections.abc import Callable
from datetime import datetime, timedelta

from figures import budgets
from figures.asked import Answer, Asked, Chosen, leaders_over_time, members_table
from figures.calls import Calls, change, cost, dollars, grouped, known_cost, near, tokens, unpriced
from streams.periods import Stretch, period
from streams.spend import forecast
from streams.spend.trend import Trend, rank

DAY = timedelta(days=1)


def _card(asked: Asked, now: Calls, before: Calls, before_start: datetime) -> Answer:
    reaches = asked.since < before_start + DAY
    return [
        {
            "Cost": known_cost(now),
            "Change": change(cost(now), cost(before)) if reaches else None,
            "Calls without a price": unpriced(now),
        }
    ]


def _range(asked: Asked) -> Answer:
    before_start = asked.start - (asked.end - asked.start)
    return _card(asked, asked.within(), asked.between(before_start, asked.start), before_start)


def _to_date(kind: str) -> Callable[[Asked], Answer]:
    def figures(asked: Asked) -> Answer:
        compared = period(f"{kind}_to_date", asked.end, asked.zone)
        now, before = compared.stretch, compared.previous
        return _card(asked, asked.between(now.start, now.end), asked.between(before.start, before.end), before.start)

    return figures


def _today(asked: Asked) -> Answer:
    start = asked.midnight(asked.today)
    until = period("month_to_date", asked.end, asked.zone).stretch.end
    local = until.astimezone(asked.zone)
    same = (local - DAY).replace(fold=0).astimezone(start.tzinfo)
    before = Stretch(asked.midnight(asked.today - DAY), min(same, start))
    return _card(asked, asked.between(start, until), asked.between(before.start, before.end), before.start)


def _calls(asked: Asked) -> Answer:
    before_start = asked.start - (asked.end - asked.start)
    now, before = asked.within(), asked.between(before_start, asked.start)
    moved = change(len(now), len(before), places=9) if asked.since < before_start + DAY else None
    return [{"Calls": len(now), "Change": moved, "Tokens": tokens(now)}]


def _forecast(asked: Asked) -> Answer:
    """Whole days that have data teach the method of streams/spend/forecast.py; the month goes up to the range's end."""
    today = asked.today
    whole = [day for back in range(120, 0, -1) if asked.since <= asked.midnight(day := today - back * DAY)]
    if len(whole) < 14:
        return [{"Half (p50)": None, "Nine in ten (p90)": None}]

    def picos(start: datetime, end: datetime) -> int:
        return sum(call.picos for call in asked.between(start, end))

    daily = [picos(asked.midnight(day), asked.midnight(day + DAY)) for day in whole]
    first = today.replace(day=1)
    left = ((first + 32 * DAY).replace(day=1) - today).days
    start, end = asked.midnight(today), asked.midnight(today + DAY)
    elapsed = (asked.end - start) * forecast.ONE // (end - start)
    until = asked.end + timedelta(seconds=1)  # a quarter that begins at the very end counts
    made = forecast.forecast(
        forecast.learn(daily, left), picos(asked.midnight(first), until), picos(start, until), elapsed
    )
    return [
        {"Half (p50)": dollars(made.p50[-1]), "Nine in ten (p90)": dollars(made.p90[-1]) if made.measured else None}
    ]


def _unattributed(asked: Asked) -> Answer:
    calls = asked.within()
    return [
        {
            f"No {dimension}": near(cost(call for call in calls if not call.member(dimension)), cost(calls))
            for dimension in ("workload", "customer", "team")
        }
    ]


def _last_days(asked: Asked) -> Answer:
    days = [asked.today - back * DAY for back in range(29, -1, -1)]
    return [
        {
            "time": asked.midnight(day),
            "Cost": cost(
                call
                for call in asked.between(asked.midnight(day), asked.midnight(day + DAY))
                if call.quarter <= asked.end
            ),
        }
        for day in days
    ]


def _providers(asked: Asked) -> Answer:
    return leaders_over_time(asked, asked.within(), lambda call: call.member("provider"))


def _top(dimension: str) -> Callable[[Asked], Answer]:
    return lambda asked: members_table(
        asked.within(), lambda call: call.member(dimension), (dimension.capitalize(),), 100
    )


def _trends(dimension: str) -> Callable[[Asked], Answer]:
    def figures(asked: Asked) -> Answer:
        asked_days = (asked.today - asked.start.astimezone(asked.zone).date()).days
        reached = [
            days
            for days in (asked_days, 14, 7)
            if 1 <= days <= asked_days and asked.since < asked.midnight(asked.today - (2 * days - 1) * DAY)
        ]
        if not reached:
            return []
        days = reached[0]
        edges = [asked.midnight(asked.today - back * DAY) for back in (2 * days, days, 0)]
        groups = grouped(asked.between(edges[0], edges[2]), lambda call: call.member(dimension))
        sums = [
            Trend(
                member,
                sum(call.picos for call in calls if call.quarter < edges[1]),
                sum(call.picos for call in calls if call.quarter >= edges[1]),
                0,
                1,
            )
            for member, calls in groups.items()
            if member
        ]
        rising, falling = rank(sums, int(str(asked.chosen["floor"])) * 10**12)
        return [
            {
                dimension.capitalize(): each.member,
                "Before": dollars(each.previous),
                "After": dollars(each.current),
                "Change": change(each.current, each.previous),
                "Days": days,
            }
            for each in rising[:10] + falling[:10]
        ]

    return figures


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "overview_range": _range,
    "overview_today": _today,
    "overview_month": _to_date("month"),
    "overview_quarter": _to_date("quarter"),
    "overview_year": _to_date("year"),
    "overview_calls": _calls,
    "overview_forecast": _forecast,
    "overview_budgets": budgets.over,
    "overview_alerts": budgets.open_alerts,
    "overview_unattributed": _unattributed,
    "overview_sparkline": _last_days,
    "overview_providers": _providers,
    "overview_workloads": _top("workload"),
    "overview_customers": _top("customer"),
    "overview_workload_trends": _trends("workload"),
    "overview_customer_trends": _trends("customer"),
}
_TRENDING = ("overview_workload_trends", "overview_customer_trends")
CASES: dict[str, tuple[Chosen, ...]] = {
    **dict.fromkeys(FIGURES, ({},)),
    **dict.fromkeys(_TRENDING, ({"floor": "10"}, {"floor": "0"}, {"floor": "1"})),
}
