"""What every alert is: a CloudEvents 1.0 document whose id and bytes are a function of what it is about. Pure.

    {"specversion": "1.0", "id": ..., "source": "/spendstream/<log id>", "type": ..., "subject": ..., "time": ...,
     "datacontenttype": "application/json", "dataschema": ..., "data": {...}}

schemas/alerts/<type>.json describes the whole document; `dataschema` names the part of it that describes `data`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

Instant = datetime | int
"""An aware datetime, or whole seconds since the epoch, UTC."""

Change = Literal["opened", "updated", "escalated", "revised", "retracted", "resolved", "closed"]
Severity = Literal["info", "minor", "major", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "minor", "major", "critical")

TYPES: tuple[str, ...] = (
    "spend.budget.warning",
    "spend.budget.exceeded",
    "spend.budget.resolved",
    "spend.anomaly.opened",
    "spend.anomaly.updated",
    "spend.anomaly.closed",
    "spend.trend",
    "spend.model.unpriced",
    "spend.pipeline.stalled",
)
"""What stands on spend.alerts. The relay's own notices are of two further types, see `relay_notices`."""

SCHEMAS = "https://spendstream.dev/schemas/alerts"


@dataclass(frozen=True)
class Alert:
    """A document and the key of its incident, by which Kafka keeps an incident's changes in order."""

    key: str
    document: dict[str, Any]

    @property
    def id(self) -> str:
        """Unique, and the same whoever raises the alert and however often."""
        return str(self.document["id"])

    @property
    def value(self) -> bytes:
        """The canonical JSON: sorted keys, no spaces, UTF-8."""
        return canonical(self.document)


@dataclass(frozen=True)
class Completeness:
    """How much of the log the figures rest on. `watermark`: event time up to which everything is thought to be in."""

    watermark: Instant
    events: int
    duplicates_dropped: int
    dead_letters: int


@dataclass(frozen=True)
class Origin:
    """Where an alert comes from. `zone`: the organisation's, in which days begin and people read times."""

    log_id: str
    completeness: Completeness
    zone: tzinfo = UTC


def document(
    origin: Origin,
    *,
    type: str,
    id: str,
    incident: str,
    change: Change,
    severity: Severity,
    subject: str,
    time: Instant,
    title: str,
    text: str,
    dimension: str,
    member: str,
    **fields: Any,
) -> Alert:
    """The alert with its envelope; `fields` are the type's own."""
    completeness = origin.completeness
    data = {
        "incident": incident,
        "change": change,
        "severity": severity,
        "title": title,
        "text": text,
        "dimension": dimension,
        "member": member,
        "completeness": {
            "watermark": rfc3339(completeness.watermark),
            "events": completeness.events,
            "duplicates_dropped": completeness.duplicates_dropped,
            "dead_letters": completeness.dead_letters,
        },
        **fields,
    }
    return Alert(
        incident, envelope(f"/spendstream/{origin.log_id}", type=type, id=id, subject=subject, time=time, data=data)
    )


def envelope(source: str, *, type: str, id: str, subject: str, time: Instant, data: dict[str, Any]) -> dict[str, Any]:
    """CloudEvents' attributes around `data`."""
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "subject": subject,
        "time": rfc3339(time),
        "datacontenttype": "application/json",
        "dataschema": f"{SCHEMAS}/{type}.json#/$defs/data",
        "data": data,
    }


def canonical(document: dict[str, Any]) -> bytes:
    """Canonical JSON bytes.

    Raises:
        TypeError: it holds a float: money and statistics are strings.
    """
    refuse_floats(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def refuse_floats(value: Any) -> None:
    """Raises TypeError where a float is found, at any depth."""
    if isinstance(value, float):
        raise TypeError(f"{value} is a float: write money and statistics as strings")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        refuse_floats(part)


def instant(at: Instant) -> datetime:
    """In UTC.

    Raises:
        ValueError: a datetime without a time zone.
    """
    if isinstance(at, int):
        return datetime.fromtimestamp(at, UTC)
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return at.astimezone(UTC)


def rfc3339(at: Instant) -> str:
    """`2026-11-27T05:51:24Z`, with a fraction only where there is one."""
    return instant(at).isoformat().replace("+00:00", "Z")
