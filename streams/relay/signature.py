"""Signatures after Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over id, time and body. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import quote


def headers(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """webhook-id, webhook-timestamp and webhook-signature; one signature a key, space-separated.

    Args:
        timestamp: when it is sent, seconds since the epoch.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def webhook_id(alert_id: str) -> str:
    """An alert's id as a header can bear it: percent-encoded. A full stop is encoded too, because it separates what is
    signed; members come from producers, so no line break may get through. Very long ids end in a digest."""
    encoded = quote(alert_id, safe="/:=@+,()-_~").replace(".", "%2E")
    return encoded if len(encoded) <= 500 else f"{encoded[:400]}:{hashlib.sha256(alert_id.encode()).hexdigest()}"
