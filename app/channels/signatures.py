"""Proof that a call is genuine, on its raw bytes: Standard Webhooks 1.0.0 (both ways) and shared header secrets."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from app.errors import NotGenuine

TOLERANCE_S = 300
_PREFIX = "whsec_"
_KEY_BYTES = range(16, 65)


def webhook_key(secret: str) -> bytes:
    """The raw key of `whsec_<base64>`, padded or not, standard or URL-safe alphabet. Raises ValueError without quoting it."""
    encoded = secret.strip().removeprefix(_PREFIX).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be whsec_ followed by base64") from None
    if not key:
        raise ValueError("must not be an empty secret")
    return key


def strong_webhook_key(secret: str) -> bytes:
    """As `webhook_key`, long enough: Standard Webhooks asks for 24 to 64 bytes, 16 are the least that cannot be guessed.

    Raises ValueError.
    """
    key = webhook_key(secret)
    if len(key) not in _KEY_BYTES:
        raise ValueError(f"must be whsec_ followed by base64 of 24 to 64 bytes (16 at the least); it holds {len(key)}")
    return key


def _bytes(text: str) -> bytes:
    """Header values may hold anything; what is no Unicode must not match and must not fail either."""
    return text.encode("utf-8", "backslashreplace")


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, _bytes(f"{message_id}.{timestamp}.") + body, "sha256"))


def verify_webhook(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, at: datetime) -> None:
    """Any `v1` signature of the list that matches any key passes; other versions are skipped. Raises NotGenuine."""
    message_id = headers.get("webhook-id")
    timestamp = headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not message_id or not timestamp or not signatures:
        raise NotGenuine("webhook-id, webhook-timestamp and webhook-signature are needed")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise NotGenuine("webhook-timestamp is not a Unix time")
    if abs(at.timestamp() - int(timestamp)) > TOLERANCE_S:
        raise NotGenuine("webhook-timestamp is more than five minutes away")
    given = [_bytes(part[3:]) for part in signatures.split() if part.startswith("v1,")]
    if not _matches(keys, given, message_id, timestamp, body):
        raise NotGenuine("no webhook-signature matches")


def _matches(keys: Iterable[bytes], given: Sequence[bytes], message_id: str, timestamp: str, body: bytes) -> bool:
    for key in keys:
        expected = _signature(key, message_id, timestamp, body) if key else b""
        if expected and any(hmac.compare_digest(expected, candidate) for candidate in given):
            return True
    return False


def sign_webhook(key: bytes, message_id: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """The three headers of a Standard Webhooks call."""
    if not key:
        raise ValueError("must not be an empty secret")
    timestamp = str(int(at.timestamp()))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + _signature(key, message_id, timestamp, body).decode(),
    }


def verify_token(expected: str, given: str | None) -> None:
    """Equality of a shared secret in constant time; an empty secret opens nothing. Raises NotGenuine."""
    if not expected or not given or not hmac.compare_digest(_bytes(expected), _bytes(given)):
        raise NotGenuine("the secret token does not match")
