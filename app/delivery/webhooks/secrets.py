"""The keys that sign an endpoint's calls: sealed at rest, two while one takes over from the other."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime

import orjson

from app.channels.signatures import webhook_key
from app.models import WebhookEndpoint
from app.vault import Vault

_BYTES = 32


def new_secret() -> str:
    """`whsec_` and 256 random bits in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def put_first(vault: Vault, row: WebhookEndpoint) -> str:
    """Give a new endpoint its secret; it is to be shown this once."""
    secret = new_secret()
    row.secrets = _seal(vault, [secret])
    return secret


def rotate(vault: Vault, row: WebhookEndpoint, *, old_until: datetime | None) -> str:
    """A new secret signs first; the one before it signs too until `old_until` (None: no more). Raises BadToken.

    One that was being retired already is gone.
    """
    secret = new_secret()
    before = _open(vault, row.secrets)[:1] if old_until else []
    row.secrets = _seal(vault, [secret, *before])
    row.old_secret_until = old_until
    return secret


def keys(vault: Vault, sealed: str, *, both: bool) -> list[bytes]:
    """Those that sign a call, the current one first; `both`: the one before it still does. Raises BadToken."""
    opened = _open(vault, sealed)
    return [webhook_key(secret) for secret in (opened if both else opened[:1])]


def _seal(vault: Vault, values: list[str]) -> str:
    return vault.seal(orjson.dumps(values).decode())


def _open(vault: Vault, sealed: str) -> list[str]:
    opened: list[str] = orjson.loads(vault.open(sealed))
    return opened
