"""AI spend overview: how much now, and from where."""

from grafana.dashboard import Dashboard
from grafana.links import to_member, to_page
from grafana.member_panels import NOT_ZERO, UNPRICED, members_table, spend_over_time
from grafana.panels import RISING_IS_BAD, Field, Panel, Row
from grafana.shows import Stat, Table
from grafana.variables import choice

_CHANGE = Field("Change", unit="percent", decimals=1, no_data="no earlier data", steps=RISING_IS_BAD)
_UNPRICED = Field("Calls without a price", unit="locale", decimals=0, steps=UNPRICED)
_NONE = "No calls in this range"


def _card(name: str, title: str, description: str) -> Panel:
    """Cost, its change and what has no price."""
    return Panel(
        name,
        title,
        f"{description} {NOT_ZERO}",
        "No price is known for any call",
        Stat(coloured=True),
        unit="currencyUSD",
        decimals=2,
        width=4,
        height=5,
        fields=(Field("Cost", colour="text"), _CHANGE, _UNPRICED),
    )


def _to_date(name: str, unit: str) -> Panel:
    return _card(
        f"overview_{name}",
        "Today" if unit == "day" else f"{unit.capitalize()} to date",
        f"Spend of the {unit} that the range's end lies in, up to it, in the organisation's time zone; the change is "
        f"against the same stretch of the {unit} before.",
    )


_CARDS = (
    _card("overview_range", "In this range", "Spend of the range; the change is against as long a time before it."),
    _to_date("today", "day"),
    _to_date("month", "month"),
    _to_date("quarter", "quarter"),
    _to_date("year", "year"),
    Panel(
        "overview_calls",
        "Calls",
        "Calls and tokens (input and output) of the range; the change of calls is against as long a time before it.",
        _NONE,
        Stat(coloured=True),
        unit="short",
        width=4,
        height=5,
        fields=(Field("Calls", colour="text"), _CHANGE, Field("Tokens", colour="text")),
    ),
)

_KPIS = (
    Panel(
        "overview_forecast",
        "Month-end forecast",
        "What the month will have cost at its end: in half of all cases it stays below p50, in nine of ten below p90. "
        "The level of the last two weeks times a weekday profile; the bands are what the same method was wrong by on "
        "past days. Needs 14 whole days of data, p90 also eight past days to try it on.",
        "Too little history",
        Stat(),
        unit="currencyUSD",
        decimals=2,
        width=4,
        height=4,
    ),
    Panel(
        "overview_budgets",
        "Budgets",
        "How many budgets have reached their threshold, and how many of those their limit, in a period that is not "
        "over at the range's end; of how many.",
        "No budgets",
        Stat(coloured=True),
        unit="locale",
        width=4,
        height=4,
        fields=(
            Field("Over their threshold", steps=((None, "text"), (1, "yellow"))),
            Field("Over their limit", steps=((None, "text"), (1, "red"))),
            Field("Budgets", colour="text"),
        ),
        links=(to_page("spend-budgets", "Budgets and alerts"),),
    ),
    Panel(
        "overview_alerts",
        "Open alerts",
        "Incidents of budgets and anomalies that were opened up to the range's end and are not over at it.",
        "No alerts",
        Stat(coloured=True),
        unit="locale",
        width=4,
        height=4,
        fields=(
            Field("Open", steps=((None, "text"), (1, "orange"))),
            Field("Critical", steps=((None, "text"), (1, "red"))),
        ),
        links=(to_page("spend-budgets", "Budgets and alerts"),),
    ),
    Panel(
        "overview_unattributed",
        "Unattributed",
        "Share of the range's spend whose calls name no workload, no customer, no team.",
        "No spend in this range",
        Stat(),
        unit="percentunit",
        decimals=1,
        width=4,
        height=4,
    ),
    Panel(
        "overview_sparkline",
        "Last 30 days",
        "Spend of the 30 days up to the range's end, the last of them not over; the line is the spend of each day, in "
        "the organisation's time zone.",
        "No calls in 30 days",
        Stat(sparkline=True, calc="sum"),
        unit="currencyUSD",
        decimals=2,
        width=8,
        height=4,
    ),
)


def _top(dimension: str) -> Panel:
    return members_table(
        f"overview_{dimension}s",
        f"Top {dimension}s",
        f"The {dimension}s of the range by cost, up to a hundred, and always what names none.",
        _NONE,
        (Field(dimension.capitalize(), links=(to_member(dimension),)),),
        width=12,
        height=10,
    )


def _trending(dimension: str) -> Panel:
    name = dimension.capitalize()
    return Panel(
        f"overview_{dimension}_trends",
        f"Trending {dimension}s",
        "Rising first, then falling, by the change in percent: the whole days of the range up to yesterday against as "
        "many days before, in the organisation's time zone; 14 or 7 days where data does not reach back so far. Only "
        "changes that are worth the floor; what was not there before is new.",
        "None changed by the floor or more, or too little history",
        Table(),
        width=12,
        height=9,
        fields=(
            Field(name, links=(to_member(dimension),)),
            Field("Before", unit="currencyUSD", decimals=2, width=110),
            Field("After", unit="currencyUSD", decimals=2, width=110),
            Field("Change", unit="percent", decimals=1, no_data="new", steps=RISING_IS_BAD, width=110),
            Field("Days", unit="none", width=70),
        ),
    )


DASHBOARD = Dashboard(
    "spend-overview",
    "AI spend overview",
    "How much AI usage costs now, and where it comes from.",
    (
        *_CARDS,
        *_KPIS,
        spend_over_time(
            "overview_providers",
            "Spend over time by provider",
            "providers",
            _NONE,
            height=9,
            links=(to_member("provider", "${__field.labels.name:percentencode}"),),
        ),
        Row("Workloads and customers"),
        _top("workload"),
        _top("customer"),
        Row("What changed"),
        _trending("workload"),
        _trending("customer"),
    ),
    variables=(
        choice(
            "floor",
            "Least change",
            (("any", "0"), ("$1", "1"), ("$10", "10"), ("$100", "100"), ("$1000", "1000")),
            "10",
        ),
    ),
)
