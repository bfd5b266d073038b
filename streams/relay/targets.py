"""Where a channel sends: one attempt, and what came of it. No retries here, no secret in what is said."""

import email.utils
import hashlib
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import apprise

from streams.alerts import CONTENT_TYPE
from streams.errors import SpendError
from streams.relay.channels import Chat, Webhook, keys_of, secrets_in, url_of
from streams.relay.signature import headers, webhook_id
from streams.spend.alert_document import Alert

_MOST_ERROR = 300
_GONE = 410


@dataclass(frozen=True)
class Outcome:
    """`error`: why it did not go through, for a person. `final`: trying again is of no use. `wait`: seconds that the
    target asked for before the next attempt."""

    delivered: bool
    error: str | None = None
    final: bool = False
    wait: float | None = None


class Target(Protocol):
    """Sends; takes about as long as its channel's timeout at most, and raises nothing."""

    def send(self, alert: Alert) -> Outcome: ...


def target_of(channel: Webhook | Chat) -> Target:
    """The target of a channel.

    Raises:
        SpendError: its address or secret is missing or does not fit.
    """
    return WebhookTarget(channel) if isinstance(channel, Webhook) else ChatTarget(channel)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """A signed document goes where the file says and nowhere else."""


class WebhookTarget:
    """POSTs the document itself, in CloudEvents' structured HTTP mode."""

    def __init__(self, channel: Webhook) -> None:
        self._url, self._keys, self._timeout = url_of(channel), keys_of(channel), channel.timeout_seconds
        self._secrets = secrets_in([self._url])
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, alert: Alert) -> Outcome:
        body = alert.value
        signed = headers(self._keys, webhook_id(alert.id), int(time.time()), body)
        request = urllib.request.Request(
            self._url,
            data=body,
            headers={"content-type": CONTENT_TYPE, "user-agent": "spendstream-relay", **signed},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=self._timeout):
                return Outcome(True)
        except urllib.error.HTTPError as exc:
            with exc:
                return Outcome(False, f"HTTP {exc.code}", final=exc.code == _GONE, wait=_asked(exc))
        except (OSError, http.client.HTTPException, ValueError) as exc:
            return Outcome(False, scrubbed(_why(exc, self._timeout), self._secrets))


class ChatTarget:
    """Sends title and text through apprise.

    `{incident}` in the address stands for the alert's incident, for services that keep one (PagerDuty's `dedup`): its
    changes then update one page, and its end closes it.
    """

    def __init__(self, channel: Chat) -> None:
        self._url, self._timeout = url_of(channel), channel.timeout_seconds
        self._secrets = secrets_in([self._url])
        if self._service("check") is None:
            service = self._url.partition("://")[0] if "://" in self._url else "nothing"
            raise SpendError(
                f"channel {channel.name}: url: apprise does not take it (its service is {service[:20]!r}): "
                "see github.com/caronc/apprise for how each service's address is written"
            )

    def send(self, alert: Alert) -> Outcome:
        data = alert.document["data"]
        try:
            result = (self._service(data["incident"]) or apprise.Apprise()).notify(
                title=data["title"],
                body=data["text"],
                notify_type=_kind(data),
                body_format=apprise.NotifyFormat.TEXT,
                timeout=self._timeout,
            )
            if result:
                return Outcome(True)
            said = [entry.message for entry in result.logs()]
            timed_out = result.status == apprise.AppriseResultStatus.TIMEOUT
        except Exception as exc:  # a plugin of apprise may raise anything; the channel goes on
            said, timed_out = [f"{type(exc).__name__}: {exc}"], False
        if timed_out:
            said = [f"no answer within {self._timeout:g} s"]
        return Outcome(False, scrubbed("; ".join(said) or "apprise reports a failure", self._secrets))

    def _service(self, incident: str) -> apprise.Apprise | None:
        made = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, app_id="spendstream"))
        return made if made.add(self._url.replace("{incident}", incident_key(incident))) else None


def incident_key(incident: str) -> str:
    """An incident as part of an address; services take 255 characters of it."""
    key = quote(incident, safe="")
    return key if len(key) <= 200 else hashlib.sha256(incident.encode()).hexdigest()


def scrubbed(text: str, secrets: Sequence[str]) -> str:
    """One line without the secrets, and not endless."""
    line = " ".join(text.split())
    for each in secrets:
        line = line.replace(each, "***")
    return line[:_MOST_ERROR]


def _kind(data: dict[str, Any]) -> apprise.NotifyType:
    if data["change"] in ("resolved", "retracted", "closed"):
        return apprise.NotifyType.SUCCESS
    kinds = {"info": apprise.NotifyType.INFO, "minor": apprise.NotifyType.WARNING}
    return kinds.get(data["severity"], apprise.NotifyType.FAILURE)


def _why(error: Exception, timeout: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError | socket.timeout):
        return f"no answer within {timeout:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return str(reason.strerror)
    return f"{type(reason).__name__}: {reason}"


def _asked(error: urllib.error.HTTPError) -> float | None:
    """Seconds of a Retry-After header, a number or a date."""
    text = error.headers.get("retry-after")
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
