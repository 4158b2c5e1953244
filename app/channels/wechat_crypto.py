"""How WeChat and WeCom prove and hide what they send: sorted SHA-1 signatures and AES-256-CBC with the receiver inside."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from pydantic import SecretStr

from app.channels import wechat_xml
from app.channels.base import Call
from app.errors import NotGenuine

_CIPHER_BLOCK = 16
_PADDING = 32  # they pad up to 32 bytes, not to the cipher's 16
_RANDOM = 16
_LENGTH = 4
_BODY_LIMIT = 1_000_000  # theirs have a few thousand bytes, and anybody may call


def signature(*parts: str) -> str:
    """SHA-1 of the parts in the order of their bytes."""
    return hashlib.sha1(b"".join(sorted(map(_bytes, parts)))).hexdigest()


def verify(token: SecretStr, query: Mapping[str, str], name: str, *signed: str) -> None:
    """The query's parameter `name` must sign token, timestamp, nonce and `signed`. Raises NotGenuine.

    Neither platform says how old a call may be: one that is heard again is known by the ids of what it holds.
    """
    given, timestamp, nonce = (query.get(field, "") for field in (name, "timestamp", "nonce"))
    if not given or not timestamp or not nonce:
        raise NotGenuine(f"{name}, timestamp and nonce are needed")
    expected = signature(token.get_secret_value(), timestamp, nonce, *signed)
    if not token.get_secret_value() or not hmac.compare_digest(expected.encode(), _bytes(given)):
        raise NotGenuine(f"{name} does not match")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise NotGenuine("timestamp is not a Unix time")


def opened(call: Call, *, token: SecretStr, aes_key: SecretStr, receiver: str) -> bytes:
    """What a signed and encrypted POST holds. Plain mode's signature does not cover the body: it is refused.

    What stands beside the encrypted part (compatibility mode has the plain text there) is not read. Raises NotGenuine.
    """
    if len(call.body) > _BODY_LIMIT:
        raise NotGenuine("the body is too large")
    try:
        sealed = wechat_xml.read(call.body).get("Encrypt")
    except wechat_xml.BadBody:
        raise NotGenuine("the body cannot be read") from None
    if not isinstance(sealed, str) or not sealed:
        raise NotGenuine("the body has no encrypted part: the account must use the encrypted mode")
    verify(token, call.query, "msg_signature", sealed)
    return unseal(aes_key, receiver, sealed)


def unseal(aes_key: SecretStr, receiver: str, sealed: str) -> bytes:
    """What is inside, when it was meant for `receiver`. Raises NotGenuine.

    Only for what is signed: whoever may try is somebody who knows the token, and learns nothing from the reasons.
    """
    key = base64.b64decode(aes_key.get_secret_value() + "=")
    try:
        data = base64.b64decode(sealed, validate=True)
    except (binascii.Error, ValueError):
        raise NotGenuine("the encrypted part is not base64") from None
    if not data or len(data) % _CIPHER_BLOCK:
        raise NotGenuine("the encrypted part is cut off")
    decryptor = Cipher(AES(key), CBC(key[:_CIPHER_BLOCK])).decryptor()
    return _content(_unpad(decryptor.update(data) + decryptor.finalize()), receiver)


def _unpad(plain: bytes) -> bytes:
    count = plain[-1]
    if not 1 <= count <= _PADDING or not plain.endswith(bytes([count]) * count):
        raise NotGenuine("the encrypted part does not fit the EncodingAESKey")
    return plain[:-count]


def _content(plain: bytes, receiver: str) -> bytes:
    """16 random bytes, the length, the content, the receiver."""
    start = _RANDOM + _LENGTH
    end = start + int.from_bytes(plain[_RANDOM:start], "big")
    if not hmac.compare_digest(plain[end:], receiver.encode()):
        raise NotGenuine("the encrypted part is not meant for this account")
    return plain[start:end]


def _bytes(text: str) -> bytes:
    """Query values may hold anything; what is no Unicode must not match and must not fail either."""
    return text.encode("utf-8", "backslashreplace")
