"""Which channel takes which alert. Pure."""

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from streams.planned import Planned, is_planned
from streams.relay.channels import Chat, Webhook
from streams.spend.alert_document import SEVERITIES, Alert

REVISED = "revisions are not for this channel"
PLANNED = "the member's activity is planned"


def takes(channel: Webhook | Chat, alert: Alert) -> bool:
    """Whether the alert is the channel's business at all: its filter."""
    only, data = channel.only, alert.document["data"]
    return (
        any(fnmatchcase(alert.document["type"], glob) for glob in only.types)
        and SEVERITIES.index(data["severity"]) >= SEVERITIES.index(only.least_severity)
        and data["dimension"] in only.dimensions
        and any(fnmatchcase(data["member"], glob) for glob in only.members)
    )


def suppressed(channel: Webhook | Chat, alert: Alert, planned: Iterable[Planned]) -> str | None:
    """Why an alert that the channel takes is not sent all the same; None: it is sent."""
    data = alert.document["data"]
    if data["change"] == "revised" and not channel.revised:
        return REVISED
    # An incident that a person has been told of is also told to be over, planned or not.
    if alert.document["type"] in ("spend.anomaly.opened", "spend.anomaly.updated"):
        at = datetime.fromisoformat(alert.document["time"])
        if is_planned(planned, data["dimension"], data["member"], at):
            return PLANNED
    return None
