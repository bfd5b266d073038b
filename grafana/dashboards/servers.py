"""Servers and services: what each costs and how often it is called, and the pairs of provider and model."""

from grafana.dashboard import Dashboard
from grafana.links import to_member
from grafana.member_panels import members_table, spend_over_time
from grafana.panels import Field, Panel, Row
from grafana.shows import Bars
from grafana.variables import filters

_NONE = "No calls in this range under these filters"


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


_SERVER = Field("Server", links=(to_member("server"),))
_SERVICE = Field("Service", links=(to_member("service"),))

DASHBOARD = Dashboard(
    "spend-servers",
    "Servers and services",
    "What servers, services and models cost and how often they are called.",
    (
        Row("Servers"),
        _costs("servers_server_costs", "Top 20 servers", "Cost of the servers that cost most.", _SERVER, 14),
        members_table(
            "servers_servers",
            "Cost and calls of the top 20 servers",
            "The servers that cost most, and always what names none. Share is of all spend under the filters.",
            _NONE,
            (_SERVER,),
            width=14,
            height=14,
        ),
        spend_over_time(
            "servers_over_time",
            "Spend over time by server",
            "servers",
            _NONE,
            height=8,
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
        members_table(
            "servers_models",
            "Cost and calls of the top 15 of provider and model",
            "The pairs of provider and model that cost most. Share is of all spend under the filters.",
            _NONE,
            (Field("Provider", links=(to_member("provider"),), width=120), Field("Model", links=(to_member("model"),))),
            width=14,
            height=12,
        ),
        Row("Services"),
        _costs("servers_service_costs", "Top 15 services", "Cost of the services that cost most.", _SERVICE, 12),
        members_table(
            "servers_services",
            "Cost and calls of services",
            "Services by cost, up to a hundred, and always what names none. Share is of all spend under the filters.",
            _NONE,
            (_SERVICE,),
            width=14,
            height=12,
        ),
    ),
    variables=filters(),
)
