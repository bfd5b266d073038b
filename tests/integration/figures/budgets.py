"""The panels of budgets and alerts: their figures are those of the documents on the topics."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from figures.asked import Answer, Asked, Chosen
from figures.calls import Near, near
from figures.topics import Document, moment, money

_OVER = ("closed", "resolved", "retracted")
_STATES = ("delivered", "pending", "failed", "suppressed", "summarised")


@dataclass(frozen=True)
class _State:
    """A budget, of one for each member a member's; without a status, or once its period is over, nothing is spent."""

    budget: Document
    status: Document | None
    runs: bool

    @property
    def state(self) -> str:
        return str(self.status["state"]) if self.status and self.runs else "ok"

    @property
    def percent(self) -> Decimal:
        return Decimal(self.status["percent"]) if self.status and self.runs else Decimal(0)

    @property
    def member(self) -> str:
        return str((self.status or self.budget)["member"])

    def told(self, name: str) -> Decimal | None:
        return money(self.status, name) if self.status and self.runs else None

    def at(self, name: str) -> datetime | None:
        return moment(self.status[name]) if self.status and self.runs and name in self.status else None


def _states(asked: Asked) -> list[_State]:
    found = []
    for budget in asked.topics.budgets:
        known: list[Document | None] = [
            each for each in asked.topics.statuses if each["budget_id"] == budget["id"]
        ] or [None]
        found += [_State(budget, each, each is not None and moment(each["resets_at"]) > asked.end) for each in known]
    return found


def _reached(states: Iterable[_State], *wanted: str) -> int:
    return len({each.budget["id"] for each in states if each.state in wanted})


def over(asked: Asked) -> Answer:
    """How many budgets there are, have reached a threshold, have reached their limit."""
    states = _states(asked)
    return [
        {
            "Budgets": len(asked.topics.budgets),
            "Over their threshold": _reached(states, "warning", "exceeded"),
            "Over their limit": _reached(states, "exceeded"),
        }
    ]


def _open(asked: Asked) -> list[Document]:
    """The latest alert of each incident of a budget or an anomaly that is not over at the range's end."""
    latest: dict[str, Document] = {}
    for alert in sorted(asked.topics.alerts, key=lambda each: moment(each["time"])):
        if alert["type"].startswith(("spend.budget.", "spend.anomaly.")) and moment(alert["time"]) <= asked.end:
            latest[alert["data"]["incident"]] = alert["data"]
    return [data for data in latest.values() if data["change"] not in _OVER]


def open_alerts(asked: Asked) -> Answer:
    """The overview's card."""
    found = _open(asked)
    return [{"Open": len(found), "Critical": sum(data["severity"] == "critical" for data in found)}]


def _open_by_severity(asked: Asked) -> Answer:
    severities = [data["severity"] for data in _open(asked)]
    return [{name.capitalize(): severities.count(name) for name in ("critical", "major", "minor")}]


def _progress(percent: Decimal, warns_at: int) -> Near | None:
    """A scale on which every budget's first threshold is 80 and its limit 100."""
    if percent >= 100:
        return near(percent, 1, 2)
    if percent >= warns_at:
        return near(80 * (100 - warns_at) + (percent - warns_at) * 20, 100 - warns_at, 2)
    return near(percent * 80, warns_at, 2)


def _until(asked: Asked, at: datetime | None) -> int | None:
    return int((at - asked.end) / timedelta(seconds=1)) if at and at > asked.end else None


def _member(scope: str, member: str) -> str:
    return "all spend" if scope == "global" else "each that spends" if member == "*" else member


def _page(scope: str, member: str) -> Document:
    key, _, value = member.partition("=")
    of_tag = scope == "tag"
    return {"page_dimension": f"tags.{key}" if of_tag else scope, "page_member": value if of_tag else member}


def _list(asked: Asked) -> Answer:
    def shown(each: _State) -> Document:
        budget, scope = each.budget, str(each.budget["scope"])
        limit, spent = Decimal(budget["limit_usd"]), each.told("spent_usd") or Decimal(0)
        warns_at = min(budget["thresholds"], default=100)
        return {
            "Budget": budget["name"],
            "Scope": scope,
            "Member": _member(scope, each.member),
            "Period": budget["period"],
            "State": each.state,
            "Progress": _progress(each.percent, warns_at),
            "Percent": each.percent,
            "Spent": spent,
            "Limit": limit,
            "Left": max(limit - spent, Decimal(0)),
            "Warns at": warns_at,
            "Forecast": each.told("forecast_p50_usd"),
            "Time to breach": _until(asked, each.at("breach_p50")),
            "At the earliest": _until(asked, each.at("breach_p90")),
            "Resets": each.at("resets_at"),
            "As of": moment(each.status["as_of"]) if each.status else None,
            **_page(scope, each.member),
        }

    states = sorted(_states(asked), key=lambda each: (-each.percent, each.budget["name"], each.member))
    return [shown(each) for each in states]


def _gauges(asked: Asked) -> Answer:
    gauges = [
        (-each.percent, each.budget["name"] + (f": {each.member}" if each.member not in ("", "*") else ""))
        for each in _states(asked)
    ]
    return [{"Budget": name, "Percent": -percent} for percent, name in sorted(gauges)[:10]]


def told(asked: Asked) -> list[Document]:
    """The alerts of the range, the latest first."""
    of_range = [each for each in asked.topics.alerts if asked.start <= moment(each["time"]) <= asked.end]
    return sorted(of_range, key=lambda each: moment(each["time"]), reverse=True)


def _over_time(asked: Asked) -> Answer:
    counts: dict[tuple[datetime, str], int] = {}
    for alert in told(asked):
        key = asked.stepped(moment(alert["time"])), alert["data"]["severity"]
        counts[key] = counts.get(key, 0) + 1
    return [{"time": time, "severity": severity, "alerts": counts[time, severity]} for time, severity in sorted(counts)]


def _log(asked: Asked) -> Answer:
    def shown(alert: Document) -> Document:
        data, scope = alert["data"], alert["data"]["dimension"]
        return {
            "Time": moment(alert["time"]),
            "Severity": data["severity"],
            "Change": data["change"],
            "Alert": data["title"],
            "Text": data["text"],
            "About": "all spend" if scope == "global" else scope,
            "Member": data["member"] or ("" if scope == "global" else "(unattributed)"),
            "Expected": money(data, "expected_usd"),
            "Actual": money(data, "actual_usd") if "actual_usd" in data else money(data, "spent_usd"),
            "Limit": money(data, "limit_usd"),
            "Incident": data["incident"],
            **_page(scope, data["member"]),
        }

    return [shown(alert) for alert in told(asked)]


def _delivered(asked: Asked) -> list[Document]:
    return [each for each in asked.topics.deliveries if asked.start <= moment(each["at"]) <= asked.end]


def _channels(asked: Asked) -> Answer:
    found = _delivered(asked)
    return [
        {
            "Channel": channel,
            **{
                state.capitalize(): sum(each["channel"] == channel and each["state"] == state for each in found)
                for state in _STATES
            },
        }
        for channel in sorted({each["channel"] for each in found})
    ]


def _deliveries(asked: Asked) -> Answer:
    titles = {alert["id"]: (alert["data"]["title"], alert["data"]["severity"]) for alert in asked.topics.alerts}
    found = sorted(_delivered(asked), key=lambda each: (each["alert_id"], each["channel"]))
    found.sort(key=lambda each: moment(each["at"]), reverse=True)
    return [
        {
            "Time": moment(each["at"]),
            "Channel": each["channel"],
            "State": each["state"],
            "Attempts": each["attempts"],
            "Last error": each["last_error"],
            "Alert": titles.get(each["alert_id"], (each["alert_id"], ""))[0],
            "Severity": titles.get(each["alert_id"], ("", ""))[1],
        }
        for each in found
    ]


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "budgets_counts": over,
    "budgets_open": _open_by_severity,
    "budgets_list": _list,
    "budgets_gauges": _gauges,
    "budgets_alerts_over_time": _over_time,
    "budgets_alerts": _log,
    "budgets_channels": _channels,
    "budgets_deliveries": _deliveries,
}
CASES: dict[str, tuple[Chosen, ...]] = dict.fromkeys(FIGURES, ({},))
