"""JSON records of the other topics as rows of ClickHouse: which table, and what of a record is a column. Pure.

A row is a JSON object whose names are columns; money and times are strings. What a record lacks is the column's
default; one that is no such document at all is left out: it must not keep the others waiting.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from streams import topics

Row = dict[str, Any]

_OFFSET_BITS = 20
_EPOCH, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LAST_MS = int(_LAST.timestamp()) * 1000
_MOST_UNITS = Decimal(10) ** 26  # whole part of a Decimal(38, 12)
_SOURCE = "/spendstream/"


@dataclass(frozen=True)
class Copy:
    """A topic of JSON and the table of its copies.

    Attributes:
        table: its name.
        columns: a record's columns, of its key, its document ({} where the key was removed) and when it was written;
            None for what its writer keeps there for itself.
        keeps_keys: whether the topic is compacted: an empty value removes its key.
    """

    table: str
    columns: Callable[[str, dict[str, Any], datetime], Row | None]
    keeps_keys: bool = True


def row(topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, offset: int) -> tuple[str, bytes] | None:
    """The table of a record and its row, as a JSON object in UTF-8; None where the record is not for the table.

    Args:
        topic: one of COPIES.
        key, value: of the record.
        timestamp_ms: when it was written, milliseconds since 1970.
        offset: its offset.

    Raises:
        ValueError: it is not a record of that topic; the message says why.
    """
    copy = COPIES[topic]
    name = (key or b"").decode()
    if not name and copy.keeps_keys:
        raise ValueError("it has no key")
    document: Any = {}
    if value:
        try:
            document = json.loads(value, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")
    elif not copy.keeps_keys:
        raise ValueError("it is empty")
    found = copy.columns(name, document, _EPOCH + timedelta(milliseconds=_bounded(timestamp_ms)))
    if found is None:
        return None
    found["version"] = version(timestamp_ms, offset)
    if copy.keeps_keys:
        found["removed"] = int(not value)
        found["value"] = (value or b"").decode()
    return copy.table, json.dumps(found, ensure_ascii=False).encode()


def version(timestamp_ms: int, offset: int) -> int:
    """The version of a record's row: its Kafka timestamp, and among those of one millisecond its offset.

    Not the offset alone: an embedded broker that starts empty counts from 0 again.
    """
    return _bounded(timestamp_ms) << _OFFSET_BITS | offset & (1 << _OFFSET_BITS) - 1


def _bounded(timestamp_ms: int) -> int:
    return min(max(0, timestamp_ms), _LAST_MS)  # a writer may say anything


def _alert(_: str, event: dict[str, Any], __: datetime) -> Row:
    data = event.get("data")
    if not isinstance(data, dict) or not _text(event, "id"):
        raise ValueError("it is not a CloudEvent with an id and data")
    return {
        "id": _text(event, "id"),
        "log_id": _text(event, "source").removeprefix(_SOURCE),
        "type": _text(event, "type"),
        "subject": _text(event, "subject"),
        "time": _time(event, "time") or _no("time"),
        **{
            name: _text(data, name)
            for name in ("incident", "change", "severity", "dimension", "member", "title", "text")
        },
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
    }


def _by_id(key: str, _: dict[str, Any], __: datetime) -> Row:
    return {"id": key}


def _budget_status(key: str, status: dict[str, Any], _: datetime) -> Row:
    names = ("budget_id", "name", "scope", "member", "period", "state")
    times = ("period_start", "resets_at", "breach_p50", "breach_p90", "as_of", "since")
    money = ("spent_usd", "limit_usd", "forecast_p50_usd", "forecast_p90_usd")
    found: Row = {"key": key, **{name: _text(status, name) for name in names}}
    found |= {name: _time(status, name) for name in times} | {name: _decimal(status, name, 12) for name in money}
    found["percent"] = _decimal(status, "percent", 2)
    return {name: value for name, value in found.items() if value is not None}


def _delivery(key: str, delivery: dict[str, Any], written: datetime) -> Row | None:
    alert_id, separator, channel = key.rpartition("|")
    if not separator:
        raise ValueError("its key is not <alert id>|<channel>")
    if not alert_id:
        return None  # how far the relay has come on a channel
    attempts = delivery.get("attempts", 0)
    if not isinstance(attempts, int) or not 0 <= attempts < 2**32:
        raise ValueError("attempts is not a whole number")
    return {
        "alert_id": alert_id,
        "channel": channel,
        "state": _text(delivery, "state"),
        "attempts": int(attempts),
        "last_error": _text(delivery, "last_error"),
        "at": _time(delivery, "at") or _told(written),  # rows without a time would be past their retention
    }


COPIES: dict[str, Copy] = {
    topics.ALERTS: Copy("alerts", _alert, keeps_keys=False),
    topics.BUDGETS: Copy("budgets", _by_id),
    topics.BUDGET_STATUS: Copy("budget_status", _budget_status),
    topics.DELIVERIES: Copy("deliveries", _delivery),
    topics.PLANNED: Copy("planned", _by_id),
}


def _text(document: dict[str, Any], name: str) -> str:
    found = document.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise ValueError(f"{name} is not text")
    return found


def _time(document: dict[str, Any], name: str) -> str | None:
    """An RFC 3339 time as ClickHouse reads it, in UTC."""
    text = _text(document, name)
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
        instant = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is not a time in RFC 3339") from None
    if not _EPOCH <= instant < _LAST:
        raise ValueError(f"{name} is not between 1970 and 2200")
    return _told(instant)


def _told(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03}"


def _decimal(document: dict[str, Any], name: str, decimals: int) -> str | None:
    """A decimal number that was sent as a string."""
    text = _text(document, name)
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name} is not a decimal number") from None
    if not amount.is_finite() or abs(amount) >= _MOST_UNITS:
        raise ValueError(f"{name} is too large")
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > decimals:
        raise ValueError(f"{name} has more than {decimals} decimals")
    return f"{amount:f}"


def _no(name: str) -> str:
    raise ValueError(f"{name} is missing")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
