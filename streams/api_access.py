"""Who may change budgets over HTTP. Pure: what the request says, and the settings.

A page of another origin must not, even in a browser on the worker's own machine: changes need a JSON content type
(which a browser asks leave for first, and nobody grants), no foreign Origin, and without a token a Host that is this
machine (a name of another's that points here is refused).
"""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from streams.settings import Settings

JSON = "application/json"


class Denied(Exception):
    """Why a change is refused: an HTTP status, and a message for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def require_change(settings: Settings, headers: Mapping[str, str], *, body: bool) -> None:
    """Let a request change something, or say why not.

    Args:
        headers: of the request, its names in any case.
        body: whether the request has one.

    Raises:
        Denied: 401, 403 or 415.
    """
    token = settings.api_token.get_secret_value()
    if token:
        kind, _, given = headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not _same(given.strip(), token):
            raise Denied(401, "changes need the header 'Authorization: Bearer ...' with the token of SPEND_API_TOKEN")
    else:
        if not _is_loopback(settings.web_host):
            raise Denied(
                403,
                f"this worker listens on {settings.web_host} (SPEND_WEB_HOST), not on this machine alone: "
                "changes need a token, set SPEND_API_TOKEN",
            )
        host = headers.get("Host", "")
        if not _is_loopback(_name(host)):
            raise Denied(
                403, f"the Host {host!r} is not this machine: without SPEND_API_TOKEN only it may change things"
            )
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Denied(403, f"a page of {origin!r} may not change things here")
    content = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if body and content != JSON:
        raise Denied(415, f"the Content-Type must be {JSON}, not {content or 'missing'}")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())


def _name(host: str) -> str:
    """The name of a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
