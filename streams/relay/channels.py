"""The channels of SPEND_RELAY_FILE: a YAML file that holds no secret, checked before anything is sent.

channels:
  - name: on-call
    kind: webhook
    url: https://hooks.example.com/spend
    secret: env:ON_CALL_SECRET
    only: {least_severity: major, types: ["spend.budget.*", "spend.anomaly.*"]}
  - name: team-chat
    kind: apprise
    url: file:/run/secrets/team-chat-url
    only: {dimensions: [customer], members: ["acme-*"]}
    limit: {alerts: 20, minutes: 10}
"""

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from streams.errors import SpendError
from streams.settings import secret
from streams.spend.alert_document import Severity
from streams.spend.dimensions import DIMENSIONS


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Only(_Strict):
    """What a channel takes; globs are `*`, `?`, `[...]`, case-sensitive. Unset: everything."""

    types: tuple[str, ...] = ("*",)
    least_severity: Severity = "info"
    dimensions: tuple[str, ...] = DIMENSIONS
    members: tuple[str, ...] = ("*",)

    @field_validator("dimensions")
    @classmethod
    def _known(cls, dimensions: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [each for each in dimensions if each not in DIMENSIONS]:
            raise ValueError(f"{unknown[0]!r} is no dimension: {', '.join(DIMENSIONS)}")
        return dimensions


class Limit(_Strict):
    """At most so many messages in a stretch of so many minutes; the rest is told as one."""

    alerts: int = Field(20, ge=1, le=100_000)
    minutes: float = Field(10, gt=0, le=1_440)


class _Channel(_Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    url: str
    only: Only = Only()
    timeout_seconds: float = Field(10, gt=0, le=60)
    give_up_minutes: float = Field(60, gt=0, le=1_440)


class Webhook(_Channel):
    """A program that takes the document as it is, signed after Standard Webhooks."""

    kind: Literal["webhook"]
    secret: str | tuple[str, ...]  # the first signs as the only one, others beside it while receivers change over
    limit: Limit | None = None
    revised: bool = True

    @property
    def references(self) -> tuple[str, ...]:
        return (self.secret,) if isinstance(self.secret, str) else self.secret


class Chat(_Channel):
    """Whatever apprise can reach: Slack, Teams, PagerDuty, e-mail and many more."""

    kind: Literal["apprise"]
    limit: Limit | None = Limit()
    revised: bool = False


Channel = Annotated[Webhook | Chat, Field(discriminator="kind")]


class _File(_Strict):
    channels: tuple[Channel, ...] = Field(min_length=1)

    @field_validator("channels")
    @classmethod
    def _distinct(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [channel.name for channel in channels]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"name: {min(twice)!r} is the name of two channels")
        return channels


def read_channels(path: Path | None) -> tuple[Webhook | Chat, ...]:
    """The channels of the relay's file.

    Raises:
        SpendError: none is set, it cannot be read, or something in it does not fit; the message names the field.
    """
    if path is None:
        raise SpendError("SPEND_RELAY_FILE is not set: it names the YAML file with the channels, see docs/alerts.md")
    said = f"SPEND_RELAY_FILE: {path}"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SpendError(f"SPEND_RELAY_FILE: cannot read {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SpendError(f"{said} is not YAML: {str(exc).splitlines()[0]}") from exc
    try:
        return _File.model_validate(document).channels
    except ValidationError as exc:
        raise SpendError(f"{said}: {_where(document, exc)}") from None  # the cause would show values


def url_of(channel: Webhook | Chat) -> str:
    """The channel's address, looked up where the file has a reference.

    Raises:
        SpendError: there is nothing behind the reference, or it is no address of the channel's kind.
    """
    reference = channel.url
    url = _looked_up(channel, "url", reference) if reference.startswith(("env:", "file:")) else reference
    parts = urlsplit(url)
    if isinstance(channel, Webhook) and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise SpendError(f"channel {channel.name}: url: a webhook's address begins with https:// or http://")
    return url


def keys_of(channel: Webhook) -> list[bytes]:
    """The keys that sign, from secrets such as whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw.

    Raises:
        SpendError: there is nothing behind a reference, or it is no such secret.
    """
    return [_key(channel, _looked_up(channel, "secret", reference)) for reference in channel.references]


def _key(channel: Webhook, text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise SpendError(
            f"channel {channel.name}: secret: it is no Standard Webhooks secret: whsec_ and 24 to 64 bytes in base64"
        )
    return key


def _looked_up(channel: Webhook | Chat, field: str, reference: str) -> str:
    try:
        return secret(reference)
    except SpendError as exc:
        raise SpendError(f"channel {channel.name}: {field}: {exc}") from exc


def _where(document: Any, error: ValidationError) -> str:
    """The first error as `channel 2 (team-chat): only.dimensions: ...`."""
    first = error.errors(include_input=False, include_url=False)[0]
    at: list[Any] = list(first["loc"])
    place = ""
    if at[:1] == ["channels"] and len(at) > 1 and isinstance(at[1], int):
        number, at = at[1], at[2:]
        name = document["channels"][number].get("name") if isinstance(document["channels"][number], dict) else None
        place = f"channel {number + 1}{f' ({name})' if isinstance(name, str) else ''}: "
        if at[:1] in (["webhook"], ["apprise"]):  # which of the kinds: no field
            at = at[1:]
    field = ".".join(str(part) for part in at)
    return f"{place}{field + ': ' if field else ''}{_said(first)}"


def _said(first: Any) -> str:
    messages: dict[str, str] = {
        "extra_forbidden": "there is no such field",
        "missing": "it is missing",
        "union_tag_not_found": "kind: it is missing: webhook or apprise",
        "union_tag_invalid": "kind: it is webhook or apprise",
    }
    return messages.get(first["type"], str(first["msg"]).removeprefix("Value error, "))


def secrets_in(values: Iterable[str]) -> list[str]:
    """What of these addresses and secrets must never be shown: they as a whole, and the parts that may be tokens."""
    found: set[str] = set()
    for value in values:
        parts = urlsplit(value)
        pieces = [*parts.path.split("/"), *parts.query.replace("=", "&").split("&"), parts.username, parts.password]
        if parts.scheme not in ("http", "https"):
            pieces += parts.netloc.replace("@", ":").split(":")  # apprise has tokens where others have the host
        found |= {value, *(piece for piece in pieces if piece and len(piece) >= 6)}
    return sorted(found, key=len, reverse=True)
