"""Usage explorer: group by anything, filter, and see cost, calls, tokens and what a call takes side by side."""

from grafana.dashboard import Dashboard
from grafana.links import to_member
from grafana.member_panels import UNPRICED, spend_over_time
from grafana.panels import Field, Panel, Row
from grafana.shows import Bars, Pie, Stat, Table
from grafana.variables import asked, choice, filters

_GROUPS = (
    ("Provider", "provider"),
    ("Model", "model"),
    ("Workload", "workload"),
    ("Customer", "customer"),
    ("Team", "team"),
    ("Project", "project"),
    ("User", "user"),
    ("Service", "service"),
    ("Server", "server"),
    ("Gateway", "gateway"),
    ("Environment", "environment"),
    ("Workflow", "workflow"),
    ("Agent", "agent"),
    ("API key", "api_key_id"),
    ("Release", "release"),
    ("Cache outcome", "cache_outcome"),
    ("Operation", "operation"),
    ("Cost category", "cost_category"),
    ("Region", "region"),
    ("Service tier", "service_tier"),
    ("Tag", "tag"),
)
_NONE = "No calls in this range under these filters"
_PER_CALL = 6  # decimals of a call's cost, which may be far below a cent

_TOTALS = Panel(
    "explorer_totals",
    "Under these filters",
    "Figures of the range. Tokens are input and output. Cost per call is of calls with a price; those without one are "
    "in no cost. The cache hit rate is of calls that say whether a cache answered.",
    _NONE,
    Stat(side_by_side=True, coloured=True),
    width=24,
    height=4,
    fields=(
        Field("Cost", unit="currencyUSD", decimals=2, no_data="no price", colour="text"),
        Field("Calls without a price", unit="locale", steps=UNPRICED),
        Field("Calls", unit="locale", colour="text"),
        Field("Tokens", unit="short", colour="text"),
        Field("Tokens per call", unit="locale", decimals=0, colour="text"),
        Field("Cost per call", unit="currencyUSD", decimals=_PER_CALL, no_data="no price", colour="text"),
        Field("Cache hit rate", unit="percentunit", decimals=1, no_data="not told", colour="text"),
    ),
)

_MEMBERS = Panel(
    "explorer_members",
    "By ${group_by:text}",
    "Each member's cost, calls and tokens, what a call takes and costs, and its share of spend beside its share of "
    "calls, by cost; up to 500, and always what bears none. Users, workflows, agents, API keys, releases and tags have "
    "no cache hit rate: their rollup does not keep it.",
    _NONE,
    Table(),
    width=24,
    height=13,
    fields=(
        Field("Member", links=(to_member("${__data.fields.dimension:percentencode}"),)),
        Field("Cost", unit="currencyUSD", decimals=2, no_data="no price", width=95),
        Field("Share of spend", unit="percentunit", decimals=1, bar=True, maximum=1, colour="blue", width=125),
        Field("Share of calls", unit="percentunit", decimals=1, bar=True, maximum=1, colour="purple", width=125),
        Field("Calls", unit="locale", width=75),
        Field("Tokens", unit="short", width=80),
        Field("Tokens per call", unit="locale", decimals=0, width=110),
        Field("Cost per call", unit="currencyUSD", decimals=_PER_CALL, no_data="no price", width=105),
        Field("Cache hit rate", unit="percentunit", decimals=1, no_data="-", width=105),
        Field("Errors", unit="percentunit", decimals=2, width=70),
        Field("Unpriced", unit="locale", steps=UNPRICED, width=80),
        Field("dimension", hidden=True),
    ),
)

_OVER_TIME = spend_over_time("explorer_over_time", "Spend over time by ${group_by:text}", "members", _NONE, height=9)

_SHARES = Panel(
    "explorer_shares",
    "Share of spend beside share of calls",
    "Of the fifteen members that cost most: where the share of spend is the longer bar, a call costs more than "
    "elsewhere.",
    _NONE,
    Bars("Member", legend=True),
    unit="percentunit",
    decimals=1,
    width=12,
    height=10,
    fields=(Field("Share of spend", colour="blue"), Field("Share of calls", colour="purple")),
)

_PROVIDERS = Panel(
    "explorer_providers",
    "Spend by provider",
    "Each provider's part of the range's spend.",
    _NONE,
    Pie(),
    unit="currencyUSD",
    decimals=2,
    width=8,
    height=10,
)

_CONCENTRATION = Panel(
    "explorer_concentration",
    "Provider concentration",
    "The largest provider's share of spend, and as how many providers of equal size the spend is spread: 1 divided by "
    "the sum of the squared shares (the inverse of the Herfindahl-Hirschman index). Near 1, all hangs on one.",
    "No spend in this range under these filters",
    Stat(),
    unit="short",
    decimals=1,
    width=4,
    height=10,
    fields=(
        Field("Largest provider", unit="percentunit", decimals=1),
        Field("Providers", unit="none", decimals=0),
    ),
)

DASHBOARD = Dashboard(
    "spend-explorer",
    "Usage explorer",
    "Cost, calls and tokens by any dimension, under filters.",
    (_TOTALS, _OVER_TIME, _MEMBERS, Row("Concentration"), _SHARES, _PROVIDERS, _CONCENTRATION),
    variables=(
        choice("group_by", "Group by", _GROUPS, "workload"),
        asked("tag_key", "Tag", "explorer_tag_keys"),
        *filters(),
    ),
)
