"""Why did spend change? Two stretches of time compared, and the difference split into its causes."""

from grafana.dashboard import Dashboard
from grafana.panels import Field, Link, Panel, Row
from grafana.shows import Bars, Stat, Table
from grafana.variables import asked, choice

_NO_CALLS = "No calls in either stretch"
_STRETCHES = (
    "Compared are the range and the stretch that is chosen above, both in whole quarters of an hour, that which the "
    "range ends in included; a week is one of the organisation's time zone."
)
_TO_MEMBER = Link(
    "Open the member",
    '/d/spend-member/?var-dimension=${__data.fields["Dimension"]:percentencode}'
    '&var-member=${__data.fields["Member"]:percentencode}&${__url_time_range}',
)
_TO_MODEL = Link(
    "Open the model",
    '/d/spend-member/?var-dimension=model&var-member=${__data.fields["Model"]:percentencode}&${__url_time_range}',
)
_BOTH = tuple(Field(name, unit="currencyUSD", decimals=2) for name in ("Before", "This range", "Change"))
_RISES: tuple[tuple[float | None, str], ...] = ((None, "green"), (0, "text"), (0.000001, "red"))
_CHANGE = Field("Change", unit="currencyUSD", decimals=2, steps=_RISES)

TOTALS = Panel(
    "change_totals",
    "Before and in this range",
    f"Spend and calls. {_STRETCHES}",
    _NO_CALLS,
    Stat(),
    width=24,
    height=4,
    fields=(*_BOTH, Field("Change in percent", unit="percent", decimals=1)),
)
STRETCHES = Panel(
    "change_stretches",
    "What is compared",
    "Beginning and end of both stretches in the organisation's time zone.",
    "No time zone",
    Table(),
    width=24,
    height=3,
)
CAUSES = Panel(
    "change_causes",
    "What the change is made of",
    "Starting from the spend before, one cause after another takes its actual value, quantities at old prices first "
    "and prices last; what the total moves by is that cause's part. The parts are whole picodollars and sum to the "
    "change exactly, as those of an alert do. Computed from the rollup, model by model and service tier by service "
    "tier: a batch discount, a fast mode or quantities other than tokens, which it does not tell apart, count as "
    "price.",
    _NO_CALLS,
    Table(),
    fields=(
        _CHANGE,
        Field("Of the spend before", unit="percent", decimals=1),
        Field("What it means", width=320),
    ),
)
BRIDGE = Panel(
    "change_bridge",
    "From before to this range",
    "The same parts as bars: what made it dearer, and what made it cheaper.",
    _NO_CALLS,
    Bars("Cause", stacked=True),
    unit="currencyUSD",
    decimals=2,
    fields=(Field("More", colour="red"), Field("Less", colour="green")),
)
CONTRIBUTORS = Panel(
    "change_contributors",
    "Top contributors",
    "Members of the other dimensions by how much their spend differs between the two stretches, whichever way. A "
    "dimension of which all calls bear the same member is left out.",
    "Nothing differs",
    Table(),
    height=12,
    fields=(Field("Member", links=(_TO_MEMBER,)), *_BOTH[:2], _CHANGE),
)
MODELS = Panel(
    "change_models",
    "Models and tiers",
    "Cost and calls of each model on each service tier in both stretches, the greatest difference first.",
    _NO_CALLS,
    Table(),
    height=12,
    fields=(Field("Model", links=(_TO_MODEL,)), *_BOTH[:2], _CHANGE),
)

DASHBOARD = Dashboard(
    "spend-change",
    "Why did it change?",
    "Two stretches of time compared, the difference split into volume, mix, tokens, cache and price, and who it "
    "comes from.",
    (Row("How much"), TOTALS, STRETCHES, Row("Why"), CAUSES, BRIDGE, Row("Where"), CONTRIBUTORS, MODELS),
    variables=(
        choice(
            "compare",
            "Compare with",
            (
                ("the stretch right before", "previous"),
                ("the same stretch a week before", "week"),
                ("the same stretch four weeks before", "four_weeks"),
            ),
            "previous",
        ),
        asked("dimension", "Dimension", "change_dimensions"),
        asked("member", "Member", "change_members"),
    ),
    start="now-7d",
)
