"""Pigeon: signed events in, messages out."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
import orjson

from app import clock
from app.channels import provider
from app.channels.base import (
    Call,
    Capabilities,
    Change,
    ChangeKind,
    ConfigModel,
    InboundMessage,
    Outgoing,
    Parsed,
    Sender,
    SendError,
    SendFailure,
    Sent,
    StatusUpdate,
    Unparseable,
)
from app.channels.config import ChannelConfig, HttpUrl, Secret
from app.channels.hiding import without
from app.channels.split import split_text, utf16
from app.channels.text import JSONDecodeError, clean, key, loads, word
from app.errors import NotGenuine

TOLERANCE_S = 300
TEXT_LIMIT = 1000
STATUSES = {"accepted": "sent", "arrived": "delivered", "opened": "read", "lost": "failed"}


class PigeonConfig(ChannelConfig):
    """`signing_key` signs what Pigeon sends; `api_key` opens its API."""

    signing_key: Secret
    api_key: Secret
    api_base: HttpUrl = "https://api.pigeon.example"


class PigeonAdapter:
    """The Idempotency-Key is our message id and the part's number: a second send is harmless."""

    type: ClassVar[str] = "pigeon"
    config_model: ClassVar[ConfigModel] = PigeonConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=TEXT_LIMIT, max_parts=5, idempotent_send=True, edits=True, delivered=True, read=True
    )

    def verify(self, config: PigeonConfig, call: Call) -> None:
        """HMAC-SHA256 of time, a dot and the raw body. Raises NotGenuine."""
        time, given = call.headers.get("pigeon-time", ""), call.headers.get("pigeon-signature", "")
        if not (time.isascii() and time.isdigit() and len(time) <= 12):
            raise NotGenuine("pigeon-time is not a Unix time")
        if abs(call.received_at.timestamp() - int(time)) > TOLERANCE_S:
            raise NotGenuine("pigeon-time is more than five minutes away")
        signing_key = config.signing_key.get_secret_value().encode()
        expected = hmac.digest(signing_key, time.encode() + b"." + call.body, "sha256").hex()
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "backslashreplace")):
            raise NotGenuine("pigeon-signature does not match")

    def parse(self, config: PigeonConfig, call: Call) -> Parsed:
        """Every event of the call; a bad one is an error and spoils nothing. Raises Unparseable."""
        try:
            body = loads(call.body)
        except JSONDecodeError as error:
            raise Unparseable(f"not JSON: {error}") from None
        events = body.get("events") if isinstance(body, dict) else None
        if not isinstance(events, list):
            raise Unparseable("there is no list of events")
        found = _Found()
        for place, event in enumerate(events):
            try:
                found.read(event)
            except (ValueError, TypeError) as error:
                found.errors.append(clean(f"event {place}: {error}", 300))
        return Parsed(
            found.messages, found.changes, statuses=found.statuses, ignored=found.ignored, errors=found.errors
        )

    async def send(self, config: PigeonConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """Raises SendError. A part that went out is not sent again: its key is known at Pigeon."""
        to = key(outgoing.address.get("to"))
        if to is None:
            raise SendError(SendFailure.RECIPIENT, "the address names nobody")
        if outgoing.files:
            raise SendError(SendFailure.PERMANENT, "files cannot be sent on this channel")
        parts = split_text(outgoing.text, TEXT_LIMIT, utf16)
        if not 0 < len(parts) <= self.capabilities.max_parts:
            raise SendError(SendFailure.PERMANENT, f"Pigeon takes 1 to {self.capabilities.max_parts} parts")
        last: str | None = None
        for number, text in enumerate(parts):
            payload = {"to": to, "text": text}
            answer = await _call(
                config, http, "POST", "messages", payload, idempotency=f"{outgoing.message_id}-{number}"
            )
            last = key(answer.get("id"))
        return Sent(provider_message_id=last)

    async def check(self, config: PigeonConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await _call(config, http, "GET", "me")


class _Found:
    """What is found on the way through one call."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []
        self.changes: list[Change] = []
        self.statuses: list[StatusUpdate] = []
        self.ignored: list[str] = []
        self.errors: list[str] = []

    def read(self, event: Any) -> None:
        """Raises ValueError."""
        if not isinstance(event, dict):
            raise ValueError("not an object")
        kind, event_id = word(event.get("kind"), 50), key(event.get("id"))
        if kind == "message":
            message = InboundMessage(_needed(event_id, "id"), _sender(event), _text(event), sent_at=_moment(event))
            self.messages.append(message)
        elif kind == "edit":
            about, again = _needed(key(event.get("message")), "message"), _needed(event_id, "id")
            change = Change(again, ChangeKind.EDIT, _sender(event), about, text=_text(event), at=_moment(event))
            self.changes.append(change)
        elif kind == "status" and (status := STATUSES.get(word(event.get("status")) or "")):
            self.statuses.append(StatusUpdate(_needed(key(event.get("message")), "message"), status, at=_moment(event)))
        else:
            self.ignored.append(kind or "an event without a kind")


def _needed(value: str | None, name: str) -> str:
    if value is None:
        raise ValueError(f"{name}: missing")
    return value


def _text(event: Mapping[str, Any]) -> str:
    text = event.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("text: missing")
    return clean(text)


def _sender(event: Mapping[str, Any]) -> Sender:
    given = event.get("from")
    who = _needed(key(given.get("id")) if isinstance(given, dict) else None, "from.id")
    return Sender("pigeon", who, name=word(given.get("name")) if isinstance(given, dict) else None, address={"to": who})


def _moment(event: Mapping[str, Any]) -> datetime | None:
    at = event.get("at")
    good = isinstance(at, int) and not isinstance(at, bool) and 0 < at < 10**11
    return datetime.fromtimestamp(at, UTC) if good else None  # type: ignore[arg-type]


async def _call(
    config: PigeonConfig,
    http: httpx.AsyncClient,
    method: str,
    path: str,
    payload: Mapping[str, Any] | None = None,
    *,
    idempotency: str | None = None,
) -> dict[str, Any]:
    """Raises SendError: an answer that never came is RETRY, because each call can be made twice."""
    headers = {"authorization": f"Bearer {config.api_key.get_secret_value()}", "content-type": "application/json"}
    if idempotency is not None:
        headers["idempotency-key"] = idempotency
    url = f"{config.api_base.rstrip('/')}/v1/{path}"
    try:
        content = orjson.dumps(payload) if payload is not None else None
        response = await http.request(method, url, content=content, headers=headers, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        provider.fail_on(error, idempotent=True)
    try:
        answer = loads(response.content)
    except JSONDecodeError:
        answer = None
    if response.is_success and isinstance(answer, dict):
        return answer
    raise _refusal(config, response, answer)


def _refusal(config: PigeonConfig, response: httpx.Response, answer: Any) -> SendError:
    status = response.status_code
    said = answer.get("error") if isinstance(answer, dict) else None
    words = clean(without(said, config.api_key), 300) if isinstance(said, str) else "no reason"
    if response.is_success or status in (408, 429) or status >= 500:
        wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
        return SendError(SendFailure.RETRY, f"Pigeon answered {status}: {words}", retry_after_s=wish)
    failures = {401: SendFailure.REAUTH, 403: SendFailure.CONFIG, 410: SendFailure.RECIPIENT}
    redirected = SendFailure.CONFIG if 300 <= status < 400 else SendFailure.PERMANENT
    return SendError(failures.get(status, redirected), f"Pigeon answered {status}: {words}")
