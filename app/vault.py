"""Secrets at rest and signed links: one key, derived for each purpose.

The key comes from `ROUNDTRIP_SECRET_KEY`, else from a file in the data directory (embedded database), else from the
database itself, with a warning (docs/operations.md).
"""

import base64
import hashlib
import hmac
import struct
import time
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken

_MAC_BYTES = 12
_DAY_S = 86_400


class BadToken(Exception):
    """Forged, for another purpose, or not a token at all."""


class ExpiredToken(BadToken):
    """Ours, but its time is over."""


class Vault:
    """Encrypts, decrypts, signs. Cheap to keep, has no state but the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._box = Fernet(base64.urlsafe_b64encode(self._derive("box")))

    def _derive(self, purpose: str) -> bytes:
        return hmac.new(self._key, purpose.encode(), hashlib.sha256).digest()

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without revealing either."""
        return self._derive("fingerprint").hex()[:16]

    @property
    def webhook_key(self) -> bytes:
        """Signs the calls that this installation makes to others."""
        return self._derive("webhook")

    def seal(self, plain: str) -> str:
        return self._box.encrypt(plain.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises BadToken when the key is not the one that sealed it."""
        try:
            return self._box.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise BadToken("this was sealed with another ROUNDTRIP_SECRET_KEY") from error

    def sign(self, purpose: str, subject: UUID, *, valid_s: int) -> str:
        """A link token: subject, expiry and a 96-bit MAC; 43 URL-safe characters. Useless for another purpose.

        One that is valid for days ends at midnight (UTC), so that the same link comes out all day.
        """
        ends = int(time.time()) + valid_s
        if valid_s >= _DAY_S:
            ends = (ends // _DAY_S + 1) * _DAY_S
        body = subject.bytes + struct.pack(">I", ends)
        return base64.urlsafe_b64encode(body + self._mac(purpose, body)).decode().rstrip("=")

    def verify(self, purpose: str, token: str) -> UUID:
        """The subject. Raises BadToken, or ExpiredToken when it is genuine but late."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            raise BadToken("not a token") from error
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(body) != 20 or not hmac.compare_digest(mac, self._mac(purpose, body)):
            raise BadToken("not a token of ours")
        if struct.unpack(">I", body[16:])[0] < time.time():
            raise ExpiredToken("the link has expired")
        return UUID(bytes=body[:16])

    def reply_token(self, conversation_id: UUID) -> str:
        """The part after the plus sign in a mail's Reply-To: base32, lower case, 42 characters, no expiry."""
        body = conversation_id.bytes
        return base64.b32encode(body + self._mac("reply", body)[:10]).decode().rstrip("=").lower()

    def read_reply_token(self, token: str) -> UUID | None:
        """The conversation that a reply address names, or None when it is not ours."""
        try:
            raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
        except ValueError:
            return None
        body, mac = raw[:16], raw[16:]
        return UUID(bytes=body) if len(raw) == 26 and hmac.compare_digest(mac, self._mac("reply", body)[:10]) else None

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.new(self._derive("link:" + purpose), body, hashlib.sha256).digest()[:_MAC_BYTES]
