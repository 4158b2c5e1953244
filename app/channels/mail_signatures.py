"""How mail providers prove that a call is theirs: an HMAC, an ECDSA signature, or a secret in the address."""

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from app.channels.base import Call


@lru_cache(maxsize=256)
def ecdsa_key(encoded: str) -> ec.EllipticCurvePublicKey:
    """From the base64 of its DER form. Raises ValueError."""
    try:
        key = load_der_public_key(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ValueError("not a public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("not a P-256 public key")
    return key


def signed_by(encoded_key: str, *, timestamp: str, body: bytes, signature: str) -> bool:
    """SendGrid: ECDSA with SHA-256 over the timestamp and the raw body, to its last byte."""
    try:
        given = base64.b64decode(signature, validate=True)
        ecdsa_key(encoded_key).verify(given, timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def token_signed_by(key: str, *, timestamp: str, token: str, signature: str) -> bool:
    """Mailgun: the hex of HMAC-SHA256 over timestamp and token. The body is not covered."""
    wanted = hmac.new(key.encode(), (timestamp + token).encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace"))


def knows_secret(secret: str, call: Call) -> bool:
    """The password of HTTP Basic (any user name), else `?secret=` in the address."""
    given = call.query.get("secret", "")
    scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
        except (ValueError, binascii.Error):
            return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
