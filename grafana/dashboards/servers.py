"""Servers and services: what each costs and how often it is called, and the pairs of provider and model."""

from grafana.dashboard import Dashboard
from grafana.links import to_member
from grafana.panels import Field, Panel, Row
from grafana.shows import Bars, Series, Table
from grafana.variables import filters

_NONE = "No calls in this range under these filters"
_UNPRICED = "Calls without a price are not in the cost, nor are they $0: they come on top."


def _costs(name: str, title: str, description: str, category: Field, height: int) -> Panel:
    return Panel(
        name,
        title,
        description,
        _NONE,
        Bars(category.name),
        unit="currencyUSD",
        decimals=2,
        width=10,
        height=height,
        fields=(category,),
    )


def _table(name: str, title: str, description: str, members: tuple[Field, ...], height: int) -> Panel:
    return Panel(
        name,
        title,
        f"{description} {_UNPRICED}",
        _NONE,
        Table(),
        width=14,
        height=height,
        fields=(
            *members,
            Field("Cost", unit="currencyUSD", decimals=2, no_data="no price", width=110),
            Field("Share", unit="percentunit", decimals=1, bar=True, maximum=1, colour="blue", width=130),
            Field("Calls", unit="locale", width=90),
            Field("Tokens", unit="short", width=90),
            Field("Without a price", unit="locale", steps=((None, "text"), (1, "orange")), width=120),
        ),
    )


_SERVER = Field("Server", links=(to_member("server"),))
_SERVICE = Field("Service", links=(to_member("service"),))

DASHBOARD = Dashboard(
    "spend-servers",
    "Servers and services",
    "What servers, services and models cost and how often they are called.",
    (
        Row("Servers"),
        _costs("servers_server_costs", "Top 20 servers", "Cost of the servers that cost most.", _SERVER, 14),
        _table(
            "servers_servers",
            "Cost and calls of the top 20 servers",
            "The servers that cost most, and always what names none. Share is of all spend under the filters.",
            (_SERVER,),
            14,
        ),
        Panel(
            "servers_over_time",
            "Spend over time by server",
            "Spend of each day, the ten servers that cost most and the rest together; of each hour for ranges up to "
            "two days, of each month beyond 400 days. Days are the organisation's.",
            _NONE,
            Series(bars=True, stacked=True),
            unit="currencyUSD",
            decimals=2,
            width=24,
            height=8,
            series_name="name",
            links=(to_member("server", "${__field.labels.name:percentencode}"),),
        ),
        Row("Providers and models"),
        _costs(
            "servers_model_costs",
            "Top 15 of provider and model",
            "Cost of the pairs of provider and model that cost most.",
            Field("Provider / model"),
            12,
        ),
        _table(
            "servers_models",
            "Cost and calls of the top 15 of provider and model",
            "The pairs of provider and model that cost most. Share is of all spend under the filters.",
            (Field("Provider", links=(to_member("provider"),)), Field("Model", links=(to_member("model"),))),
            12,
        ),
        Row("Services"),
        _costs("servers_service_costs", "Top 15 services", "Cost of the services that cost most.", _SERVICE, 12),
        _table(
            "servers_services",
            "Cost and calls of services",
            "Services by cost, up to a hundred, and always what names none. Share is of all spend under the filters.",
            (_SERVICE,),
            12,
        ),
    ),
    variables=filters(),
)
