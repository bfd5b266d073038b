"""One member of a dimension: what it spends against what is usual, what is inside it, and its latest calls."""

from grafana.dashboard import Annotation, Dashboard
from grafana.panels import Field, Link, Panel, Row, read_query
from grafana.shows import Series, Stat, Table
from grafana.variables import asked

_NO_CALLS = "No calls in this range"
_QUARTERS = "Sums of the quarters of an hour that begin in the range."
_NARROW = " Of a user, workflow, agent, key, release or tag it is read from the raw calls."

_TO_MODEL = Link(
    "Open the model",
    '/d/spend-member/?var-dimension=model&var-member=${__data.fields["Model"]:percentencode}&${__url_time_range}',
)
_TO_USER = Link(
    "Open the user",
    '/d/spend-member/?var-dimension=user&var-member=${__data.fields["User"]:percentencode}&${__url_time_range}',
)
_TO_CHANGE = Link(
    "Why did it change?",
    "/d/spend-change/?var-dimension=${dimension:percentencode}&var-member=${member:percentencode}&${__url_time_range}",
)
_COST = Field("Cost", unit="currencyUSD", decimals=2)
_SHARE = Field("Share", unit="percentunit", decimals=1, bar=True, maximum=1)
_COST_PER_CALL = Field("Cost per call", unit="currencyUSD", decimals=6)
_COMPONENTS = tuple(
    Field(name, unit="currencyUSD", decimals=6)
    for name in ("Cost", "Input", "Cache read", "Cache write", "Output", "Audio", "Image", "Quantities")
)

SPEND = Panel(
    "member_spend",
    "Spend of ${dimension} ${member}",
    f"What it cost and how much it was used. {_QUARTERS} A call without a price adds nothing to the cost and is "
    "counted beside it; the cost of a call is that of calls with a price. Errors: the share of calls that ended in "
    "one.",
    _NO_CALLS,
    Stat(),
    width=24,
    height=4,
    fields=(
        _COST,
        _COST_PER_CALL,
        Field("Tokens per call", decimals=1),
        Field("Errors", unit="percentunit", decimals=2),
    ),
    links=(_TO_CHANGE,),
)
AGAINST_USUAL = Panel(
    "member_against_usual",
    "Against its own baseline",
    "The range's whole hours against the member's own baseline: the median of the same hour of the week over the "
    "four weeks before, in the organisation's time zone. An hour without calls counts as nothing spent; weeks before"
    " the member's first call of these are left out, and hours without any week to compare with are left out on both"
    " sides.",
    "Nothing to compare with yet",
    Stat(),
    width=12,
    height=4,
    unit="currencyUSD",
    decimals=2,
    fields=(Field("Difference", unit="percent", decimals=1),),
)
SHARE = Panel(
    "member_share",
    "Share of everything",
    "The member's share of all spend and of all calls in the range, and the share of spend that bears no member of "
    "this dimension at all (unattributed).",
    _NO_CALLS,
    Stat(),
    unit="percentunit",
    decimals=1,
    width=12,
    height=4,
)
BASELINE = Panel(
    "member_baseline",
    "Spend and what is usual",
    "Spend by the hour (longer ranges: by longer steps, up to days) beside the member's own baseline: the median of "
    "the same hour of the week over the four weeks before, in the organisation's time zone. Weeks before the "
    "member's first call of these are left out. The last hour is still running. Anomalies that were told are marked.",
    _NO_CALLS,
    Series(),
    unit="currencyUSD",
    decimals=2,
    width=24,
    height=9,
    interval="1h",
    fields=(Field("Usual", colour="text", custom={"lineStyle": {"dash": [6, 6], "fill": "dash"}, "fillOpacity": 0}),),
)
MODELS = Panel(
    "member_models",
    "Models inside it",
    f"The 50 dearest models that the member called. {_QUARTERS}{_NARROW}",
    _NO_CALLS,
    Table(),
    fields=(
        Field("Model", links=(_TO_MODEL,)),
        _COST,
        _SHARE,
        _COST_PER_CALL,
        Field("Tokens per call", decimals=1),
    ),
)
USERS = Panel(
    "member_users",
    "Users inside it",
    "The 50 users who spent most of it. Read from the raw calls, for no rollup has users beside another dimension, "
    "over the same quarters of an hour as the rest of the page.",
    _NO_CALLS,
    Table(),
    fields=(Field("User", links=(_TO_USER,)), _COST, _SHARE, _COST_PER_CALL),
)
QUALITY = Panel(
    "member_quality",
    "Latency, errors and cache",
    "Mean duration of calls that say how long they took; share of calls that ended in an error; share of cache hits "
    f"among calls that say a cache was asked (hits and misses, no bypasses).{_NARROW}",
    _NO_CALLS,
    Stat(),
    width=24,
    height=4,
    fields=(
        Field("Mean latency", unit="ms", decimals=0),
        Field("Errors", unit="percentunit", decimals=2),
        Field("Cache hit rate", unit="percentunit", decimals=1, no_data="No cache asked"),
    ),
)
LATENCY = Panel(
    "member_latency",
    "Latency",
    f"Mean duration of the calls that say how long they took.{_NARROW}",
    _NO_CALLS,
    Series(legend=False),
    unit="ms",
    decimals=0,
    width=8,
    interval="15m",
)
ERRORS = Panel(
    "member_errors",
    "Calls and errors",
    "Calls that were answered and calls that ended in an error.",
    _NO_CALLS,
    Series(bars=True, stacked=True),
    decimals=0,
    width=8,
    interval="15m",
    fields=(Field("Answered", colour="blue"), Field("Errors", colour="red")),
)
CACHE = Panel(
    "member_cache",
    "Cache hit rate",
    f"Hits of all calls that say a cache was asked: hits and misses, no bypasses.{_NARROW}",
    "No call says that a cache was asked",
    Series(legend=False),
    unit="percentunit",
    decimals=1,
    minimum=0,
    maximum=1,
    width=8,
    interval="15m",
)
CALLS = Panel(
    "member_calls",
    "Latest calls: the spend log",
    "The latest 100 calls of the range from the raw rows: every component of the cost, the rate that priced it and "
    "the version of the price data, tokens, and where the event stands in the log (log, partition, offset), so that "
    "each figure can be traced. An empty cost is not known, which is not $0.",
    _NO_CALLS,
    Table(),
    width=24,
    height=14,
    fields=(
        *_COMPONENTS,
        Field("Duration", unit="ms"),
        Field("Model", links=(_TO_MODEL,)),
        Field("User", links=(_TO_USER,)),
    ),
)

DASHBOARD = Dashboard(
    "spend-member",
    "One member",
    "A workload, customer, team, user, model, tag or whatever else calls bear: its spend, what is usual, what is in "
    "it.",
    (
        Row("Spend"),
        SPEND,
        AGAINST_USUAL,
        SHARE,
        BASELINE,
        Row("Inside it"),
        MODELS,
        USERS,
        Row("How it went"),
        QUALITY,
        LATENCY,
        ERRORS,
        CACHE,
        Row("Spend log"),
        CALLS,
    ),
    variables=(asked("dimension", "Dimension", "member_dimensions"), asked("member", "Member", "member_members")),
    annotations=(Annotation("Anomalies", read_query("member_anomalies"), "red"),),
)
