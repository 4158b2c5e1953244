"""What Meta's channels (WhatsApp, Messenger, Instagram) have in common: signature, handshake, batches, ids and times."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from app.channels import signatures
from app.channels.base import (
    Call,
    CallUpdate,
    Change,
    Echo,
    InboundMessage,
    Parsed,
    Refusal,
    Reply,
    Sender,
    StatusUpdate,
    Unparseable,
)
from app.channels.text import JSONDecodeError, clean, loads
from app.errors import NotGenuine

Json = Mapping[str, Any]

OTHER_ACCOUNT = "other account"
_CHALLENGE_LIMIT = 1000
_SIGNATURES = (("x-hub-signature-256", "sha256"), ("x-hub-signature", "sha1"))
_UNREADABLE = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)


class BadItem(ValueError):
    """One item of a batch cannot be read; the text says why."""


def verify(app_secret: SecretStr, call: Call) -> None:
    """HMAC of the raw body. The older SHA-1 header counts only where the newer one is absent. Raises NotGenuine.

    Meta signs no time: a replayed call is genuine, and its items are known by their ids.
    """
    secret = app_secret.get_secret_value().encode("utf-8", "backslashreplace")
    for header, algorithm in _SIGNATURES:
        given = call.headers.get(header)
        if given is not None:
            expected = f"{algorithm}={hmac.digest(secret, call.body, algorithm).hex()}"
            if not secret or not hmac.compare_digest(expected.encode(), given.encode("utf-8", "backslashreplace")):
                raise NotGenuine(f"{header} does not match")
            return
    raise NotGenuine("x-hub-signature-256 is needed")


def handshake(verify_token: SecretStr, call: Call) -> Reply:
    """Give the challenge back to whoever knows the token. Raises NotGenuine."""
    if call.query.get("hub.mode") != "subscribe":
        raise NotGenuine("hub.mode is not subscribe")
    signatures.verify_token(verify_token.get_secret_value(), call.query.get("hub.verify_token"))
    challenge = call.query.get("hub.challenge", "")
    if not challenge or len(challenge) > _CHALLENGE_LIMIT:
        raise NotGenuine("hub.challenge is missing or too long")
    return Reply(challenge.encode("utf-8", "replace"))


class Found:
    """What is found on the way through one call."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []
        self.changes: list[Change] = []
        self.echoes: list[Echo] = []
        self.calls: list[CallUpdate] = []
        self.statuses: list[StatusUpdate] = []
        self.refusals: list[Refusal] = []
        self.people: list[Sender] = []
        self.ignored: list[str] = []
        self.errors: list[str] = []

    def ignore(self, *kind: object) -> None:
        words = [str(part) for part in kind if isinstance(part, str | int)]
        self.ignored.append(clean(" ".join(words), 200))

    @contextmanager
    def item(self, where: str) -> Iterator[None]:
        """What goes wrong inside is an entry in `errors`, and the rest of the call goes on."""
        try:
            yield
        except BadItem as error:
            self.errors.append(clean(f"{where}: {error}", 300))
        except _UNREADABLE as error:
            self.errors.append(clean(f"{where}: {type(error).__name__}: {error}", 300))

    def parsed(self) -> Parsed:
        """A message that one call holds twice (by way of the page and of Instagram) is one; an empty call is named so."""
        if not any(vars(self).values()):
            self.ignore("empty call")
        return Parsed(
            messages=tuple({message.external_id: message for message in self.messages}.values()),
            changes=tuple(self.changes),
            echoes=tuple(self.echoes),
            calls=tuple(self.calls),
            statuses=tuple(self.statuses),
            refusals=tuple(self.refusals),
            people=tuple(self.people),
            ignored=tuple(self.ignored),
            errors=tuple(self.errors),
        )


def read(call: Call) -> Json:
    """The body as an object. Raises Unparseable."""
    try:
        body = loads(call.body)
    except JSONDecodeError as error:
        raise Unparseable(f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Unparseable("the body is not an object")
    return body


def entries(body: Json, kind: str, found: Found) -> Iterator[tuple[str, Json]]:
    """Each `entry` that is an object, with its place; a call about something else than `kind` has none."""
    if body.get("object", kind) != kind:
        found.ignore("object", body["object"])
        return
    for place, entry in enumerate(sequence(body.get("entry"))):
        if isinstance(entry, dict):
            yield f"entry {place}", entry
        else:
            found.errors.append(f"entry {place}: not an object")


def obj(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def moment(value: Any) -> datetime | None:
    """Seconds or milliseconds, as a number or in digits, or ISO 8601; a time that cannot be read is None."""
    try:
        if isinstance(value, str):
            if not (value.isascii() and value.isdigit()):
                read = datetime.fromisoformat(value)
                return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
            value = int(value[:20])
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value / 1000 if value >= 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def digest(*parts: object) -> str:
    """A stable key for what the provider gives no id."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode("utf-8", "replace")).hexdigest()[:40]
