"""Identifiers and secrets: UUIDv7 for rows, 256-bit random strings for tokens."""

import hashlib
import secrets
from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def new_id() -> UUID:
    """A UUIDv7: ordered by time, so that primary-key indexes grow at one end."""
    return _uuid7()


def new_token(kind: str) -> str:
    """A bearer token with 256 random bits, named after what it opens: `rt_agent_...`."""
    return f"rt_{kind}_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> bytes:
    """What is stored of a token. A plain digest is enough: the token is random, not a password."""
    return hashlib.sha256(token.encode()).digest()
