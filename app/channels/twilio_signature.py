"""X-Twilio-Signature, for everything that Twilio calls: messages, calls, statuses."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from app.channels.base import Call
from app.errors import NotGenuine

_FIELDS_LIMIT = 1000
# Far more than Twilio sends. Reading a form takes time, and here nobody has proven yet who he is.
_FORM_LIMIT = 256 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
Fields = list[tuple[str, str]]


def fields(body: bytes) -> Fields:
    """The pairs of a form in their order, blank ones too; bytes that are no UTF-8 stay as surrogates.

    Raises ValueError for more than 1000 of them, or 256 KiB.
    """
    if len(body) > _FORM_LIMIT:
        raise ValueError("the form is too large")
    text = body.decode("utf-8", "surrogateescape")
    return parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_FIELDS_LIMIT)


def verify(auth_token: SecretStr, call: Call) -> None:
    """A form is signed by its fields; any other body by its hash, which stands in the signed URL. Raises NotGenuine.

    Twilio signs no time: a replayed call is genuine, and its messages are known by their ids.
    """
    given = call.headers.get("x-twilio-signature")
    token = auth_token.get_secret_value()
    if not given or not token:
        raise NotGenuine("x-twilio-signature is needed")
    signed = _signed_fields(call)
    expected = [signature(token, url, signed) for url in _spellings(call.url)]
    wanted = given.encode("utf-8", "backslashreplace")
    if not any(hmac.compare_digest(one.encode(), wanted) for one in expected):
        raise NotGenuine("x-twilio-signature does not match")


def signature(token: str, url: str, form: Fields) -> str:
    """Keys in byte order, each with the sorted set of its values, after the URL."""
    values: dict[str, set[str]] = {}
    for name, value in form:
        values.setdefault(name, set()).add(value)
    parts = [url.encode("utf-8", "surrogateescape")]
    for name in sorted(values):
        parts += [(name + value).encode("utf-8", "surrogateescape") for value in sorted(values[name])]
    mac = hmac.digest(token.encode("utf-8", "backslashreplace"), b"".join(parts), hashlib.sha1)
    return base64.b64encode(mac).decode()


def _signed_fields(call: Call) -> Fields:
    media_type = call.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0]
    if media_type.strip().lower() == "application/x-www-form-urlencoded":
        try:
            return fields(call.body)
        except ValueError:
            raise NotGenuine("the form is larger than any of Twilio's") from None
    if call.body:
        query = dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True))
        claimed = query.get("bodySHA256", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(hashlib.sha256(call.body).hexdigest().encode(), claimed):
            raise NotGenuine("bodySHA256 does not match the body")
    return []


def _spellings(url: str) -> Iterable[str]:
    """Twilio may sign the port that everybody leaves out, and an apostrophe in either spelling."""
    spelt = [url]
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return spelt
    if host is not None and parts.scheme in _DEFAULT_PORTS:
        bare = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc
        for place in (bare, f"{bare}:{port or _DEFAULT_PORTS[parts.scheme]}"):
            head, tail = f"{parts.scheme}://{parts.netloc}", f"{parts.scheme}://{place}"
            spelt.append(tail + url[len(head) :])
    spelt += [one.replace("'", "%27") for one in spelt] + [one.replace("%27", "'") for one in spelt]
    return dict.fromkeys(spelt)
