"""The panels of servers, models and services."""

from collections.abc import Callable
from typing import Any

from figures.asked import Answer, Asked, Chosen, leaders_over_time, members_table
from figures.calls import Call, cost, grouped, named

_ALL = ["$__all"]
_CHOSEN: tuple[Chosen, ...] = (
    {"provider": _ALL, "model": _ALL, "gateway": _ALL, "team": _ALL},
    {"provider": ["openai"], "model": _ALL, "gateway": _ALL, "team": _ALL},
    {"provider": ["openai", "anthropic"], "model": _ALL, "gateway": ["(unattributed)"], "team": _ALL},
)


def _pair(call: Call) -> tuple[str, str]:
    return call.member("provider"), call.model


def _bars(asked: Asked, column: str, name: Callable[[Call], str], limit: int) -> Answer:
    """`name`: of a bar, '' where nobody is told."""
    costs = {member: cost(calls) for member, calls in grouped(asked.filtered(), name).items()}
    dearest = sorted(costs, key=lambda member: (-costs[member], member))[:limit]
    return [{column: named(member), "Cost": costs[member]} for member in dearest]


def _table(asked: Asked, key: Callable[[Call], Any], columns: tuple[str, ...], limit: int) -> Answer:
    return members_table(asked.filtered(), key, columns, limit)


def _of(dimension: str) -> Callable[[Call], str]:
    return lambda call: call.member(dimension)


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "servers_server_costs": lambda asked: _bars(asked, "Server", _of("server"), 20),
    "servers_servers": lambda asked: _table(asked, _of("server"), ("Server",), 20),
    "servers_over_time": lambda asked: leaders_over_time(asked, asked.filtered(), _of("server")),
    "servers_model_costs": lambda asked: _bars(asked, "Provider / model", lambda call: " / ".join(_pair(call)), 15),
    "servers_models": lambda asked: _table(asked, _pair, ("Provider", "Model"), 15),
    "servers_service_costs": lambda asked: _bars(asked, "Service", _of("service"), 15),
    "servers_services": lambda asked: _table(asked, _of("service"), ("Service",), 100),
}
CASES = dict.fromkeys(FIGURES, _CHOSEN)
