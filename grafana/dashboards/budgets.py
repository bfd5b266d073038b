"""Budgets with how full they are, the alert log, and what became of each alert on its channels."""

from grafana.dashboard import Dashboard
from grafana.panels import BUDGET, Field, Link, Panel, Row
from grafana.shows import Gauges, Series, Stat, Table

_NO_BUDGETS = "No budgets: make one with `spendstream budgets create`"
_NO_ALERTS = "No alerts in this range"
_TO_MEMBER = Link(
    "Open the member",
    '/d/spend-member/?var-dimension=${__data.fields["page_dimension"]:percentencode}'
    '&var-member=${__data.fields["page_member"]:percentencode}&${__url_time_range}',
)
_HIDDEN = (Field("page_dimension", hidden=True), Field("page_member", hidden=True))


def _dollars(name: str, no_data: str | None = None) -> Field:
    return Field(name, unit="currencyUSD", decimals=2, no_data=no_data)


COUNTS = Panel(
    "budgets_counts",
    "Budgets",
    "Budgets that there are, and how many of them have reached their first threshold or their limit in the period "
    "that runs at the range's end. A budget for each member counts once.",
    _NO_BUDGETS,
    Stat(coloured=True),
    width=12,
    height=4,
    fields=(
        Field("Over their threshold", steps=((None, "green"), (1, "yellow"))),
        Field("Over their limit", steps=((None, "green"), (1, "red"))),
    ),
)
OPEN = Panel(
    "budgets_open",
    "Open alerts",
    "Incidents of budgets and anomalies that are open at the range's end, by their latest severity.",
    "No alerts",
    Stat(coloured=True),
    width=12,
    height=4,
    fields=(
        Field("Critical", steps=((None, "green"), (1, "red"))),
        Field("Major", steps=((None, "green"), (1, "orange"))),
        Field("Minor", steps=((None, "green"), (1, "yellow"))),
    ),
)
LIST = Panel(
    "budgets_list",
    "Every budget",
    "The stream's latest state of each budget; one for each member has a row a member. The bar is green under the "
    "budget's own first threshold, yellow from it and red from 100 %: it is drawn on a scale on which that threshold"
    " always stands at four fifths; the figure beside it is the exact percentage. Forecast: what is probably spent "
    "by the period's end. Time to breach: from the range's end until the limit is probably reached, and at the "
    "earliest. A budget whose period is over by the range's end has nothing spent.",
    _NO_BUDGETS,
    Table(),
    width=24,
    height=12,
    fields=(
        Field("Member", links=(_TO_MEMBER,)),
        Field("State", width=100),
        Field(
            "Progress",
            steps=BUDGET,
            bar=True,
            maximum=100,
            custom={"cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "hidden"}},
        ),
        Field("Percent", unit="percent", decimals=2),
        Field("Warns at", unit="percent", decimals=0),
        _dollars("Spent"),
        _dollars("Limit"),
        _dollars("Left"),
        _dollars("Forecast", "not yet"),
        Field("Time to breach", unit="s", decimals=0, no_data="none expected"),
        Field("At the earliest", unit="s", decimals=0, no_data="none expected"),
        *_HIDDEN,
    ),
)
FULLEST = Panel(
    "budgets_gauges",
    "The fullest",
    "The ten budgets that have used the greatest part of their limits. Yellow from 80 %, red from 100 %: the table "
    "above has each budget's own threshold.",
    _NO_BUDGETS,
    Gauges(),
    unit="percent",
    decimals=1,
    minimum=0,
    maximum=100,
    steps=BUDGET,
)
OVER_TIME = Panel(
    "budgets_alerts_over_time",
    "Alerts over time",
    "All alerts that were told, by severity.",
    _NO_ALERTS,
    Series(bars=True, stacked=True),
    decimals=0,
    interval="15m",
    fields=(
        Field("critical", colour="red"),
        Field("major", colour="orange"),
        Field("minor", colour="yellow"),
        Field("info", colour="blue"),
    ),
)
LOG = Panel(
    "budgets_alerts",
    "Alert log",
    "The latest 200 alerts of the range. Actual: what an anomaly cost, or what was spent of a budget.",
    _NO_ALERTS,
    Table(),
    width=24,
    height=12,
    fields=(
        Field("Member", links=(_TO_MEMBER,)),
        Field("Alert", links=(_TO_MEMBER,), width=420),
        _dollars("Expected"),
        _dollars("Actual"),
        _dollars("Limit"),
        *_HIDDEN,
    ),
)
CHANNELS = Panel(
    "budgets_channels",
    "Deliveries by channel",
    "What became of the alerts whose delivery changed within the range. Suppressed: revisions, or planned activity. "
    "Summarised: told together with others in a storm.",
    "No deliveries in this range: `spendstream relay` makes them",
    Table(),
    width=8,
    height=10,
    fields=(Field("Failed", steps=((None, "text"), (1, "red"))),),
)
DELIVERIES = Panel(
    "budgets_deliveries",
    "Deliveries",
    "The latest 200 deliveries of the range: each alert on each channel, with the attempts and the last error.",
    "No deliveries in this range: `spendstream relay` makes them",
    Table(),
    width=16,
    height=10,
)

DASHBOARD = Dashboard(
    "spend-budgets",
    "Budgets and alerts",
    "Limits and how much of them is spent, what was told, and whether it arrived.",
    (
        Row("Budgets"),
        COUNTS,
        OPEN,
        LIST,
        FULLEST,
        OVER_TIME,
        Row("Alerts"),
        LOG,
        Row("Deliveries"),
        CHANNELS,
        DELIVERIES,
    ),
)
