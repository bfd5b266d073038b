"""Panels that several pages have: members by what they cost, and their spend over time. Pure."""

from grafana.panels import Field, Link, Panel, Steps
from grafana.shows import Series, Table

UNPRICED: Steps = ((None, "text"), (1, "orange"))  # calls without a price
NOT_ZERO = "Calls without a price are not in it, nor are they $0: they come on top."


def members_table(
    name: str, title: str, description: str, no_data: str, members: tuple[Field, ...], *, width: int, height: int
) -> Panel:
    """Cost, share, calls, tokens and calls without a price of each row; its query includes `figures`.

    Args:
        members: the columns that name a row.
    """
    return Panel(
        name,
        title,
        f"{description} {NOT_ZERO}",
        no_data,
        Table(),
        width=width,
        height=height,
        fields=(
            *members,
            Field("Cost", unit="currencyUSD", decimals=2, no_data="no price", width=90),
            Field("Share", unit="percentunit", decimals=1, bar=True, maximum=1, colour="blue", width=100),
            Field("Calls", unit="locale", width=70),
            Field("Tokens", unit="short", width=75),
            Field("Unpriced", unit="locale", steps=UNPRICED, width=75),
        ),
    )


def spend_over_time(
    name: str, title: str, members: str, no_data: str, *, height: int, links: tuple[Link, ...] = ()
) -> Panel:
    """Stacked bars of the ten members that cost most and of the rest; its query includes `leaders_over_time`."""
    return Panel(
        name,
        title,
        f"Spend of each day, the ten {members} that cost most and the rest together; of each hour for ranges up to two "
        "days, of each month beyond 400 days. Days are the organisation's.",
        no_data,
        Series(bars=True, stacked=True),
        unit="currencyUSD",
        decimals=2,
        width=24,
        height=height,
        series_name="name",
        links=links,
    )
