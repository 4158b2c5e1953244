"""A partner system: Standard-Webhooks-signed JSON in, the same signed JSON out to its callback URL."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urljoin

import httpx
import orjson

from app import clock
from app.channels import provider, signatures
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    InboundFile,
    InboundMessage,
    OutboundFile,
    Outgoing,
    Parsed,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.config import PartnerConfig
from app.channels.provider import FetchError
from app.channels.text import JSONDecodeError, clean, file_name, key, loads, media_type, word

_MESSAGE_TYPES = ("message", "message.created")
_CATEGORIES = ("routine", "urgent", "complex")
_FILES_LIMIT = 50
_HOPS = 4
_NO_FILES: tuple[()] = ()


class _BadItem(Exception):
    """The item cannot be a message; the text says which field and why."""


class PartnerAdapter:
    """Stateless; both directions are idempotent by `webhook-id`."""

    type: ClassVar[str] = "partner"
    config_model: ClassVar[ConfigModel] = PartnerConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=100_000, idempotent_send=True, files=True)
    fetches_anywhere: ClassVar[bool] = True

    def verify(self, config: PartnerConfig, call: Call) -> None:
        signatures.verify_webhook(config.keys, call.headers, call.body, at=call.received_at)

    def parse(self, config: PartnerConfig, call: Call) -> Parsed:
        """One item, an array of items, or `{type, timestamp, data}` around either."""
        try:
            body = loads(call.body)
        except JSONDecodeError as error:
            raise Unparseable(f"not JSON: {error}") from None
        webhook_id = key(call.headers.get("webhook-id"))
        if isinstance(body, dict) and not _is_envelope(body):
            try:
                message = _message(body, webhook_id, None)
            except _BadItem as error:
                return Parsed(errors=(str(error),))
            return Parsed(messages=(message,), errors=tuple(_errors(message)))
        return _parse_many(body, webhook_id)

    async def send(self, config: PartnerConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        if config.callback_url is None:
            raise SendError(SendFailure.CONFIG, "the channel has no callback_url")
        body = orjson.dumps(_payload(outgoing))
        webhook_id = str(outgoing.message_id)
        at = clock.now()
        headers = signatures.sign_webhook(config.keys[0], webhook_id, body, at=at)
        headers["content-type"] = "application/json"
        try:
            request = http.build_request("POST", config.callback_url, content=body, headers=headers)
            response = await http.send(request, stream=True, follow_redirects=False)
            try:
                if not response.is_success:
                    _refuse(response, await provider.excerpt(response), at)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            provider.fail_on(error, idempotent=True)
        return Sent(provider_message_id=webhook_id)

    async def fetch(self, config: PartnerConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """From wherever the partner says that it lies; `http` lets nobody lead us into networks of our own, and each hop
        of a redirect goes through it anew. Raises FetchError, which does not name the address: it may be signed."""
        url = str(file.ref.get("url", ""))
        try:
            for _ in range(_HOPS):
                if not url.startswith(("https://", "http://")):
                    raise FetchError("the file does not lie at an http(s) address", retry=False)
                async with http.stream("GET", url, follow_redirects=False) as response:
                    if not response.has_redirect_location:
                        return await _content(response, limit)
                    url = urljoin(url, response.headers["location"])
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            if getattr(error, "permanent", False):
                raise FetchError(str(error), retry=False) from None
            lost = isinstance(error, httpx.HTTPError) and not isinstance(error, httpx.UnsupportedProtocol)
            raise FetchError(f"the file could not be fetched ({type(error).__name__})", retry=lost) from None
        raise FetchError("the file's server sends us round in circles", retry=False)


async def _content(response: httpx.Response, limit: int) -> bytes:
    if not response.is_success:
        retry = response.status_code >= 500 or response.status_code in (408, 425, 429)
        raise FetchError(f"the file's server answered {response.status_code}", retry=retry)
    return await provider.content(response, limit=limit)


def _refuse(response: httpx.Response, said: str, at: datetime) -> None:
    status = response.status_code
    detail = f"the partner answered {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        raise SendError(SendFailure.REAUTH, detail)
    if status in (408, 425, 429) or status >= 500:
        wish = provider.retry_after(response.headers.get("retry-after"), at=at)
        raise SendError(SendFailure.RETRY, detail, retry_after_s=wish)
    if 300 <= status < 400:
        raise SendError(SendFailure.CONFIG, f"the partner answered {status}: redirects are not followed")
    raise SendError(SendFailure.PERMANENT, detail)


def _payload(outgoing: Outgoing) -> dict[str, Any]:
    created = clock.rfc3339(outgoing.created_at or clock.now())
    data: dict[str, Any] = {
        "conversation_id": str(outgoing.conversation_id),
        "conversation_ref": outgoing.external_ref,
        "to": {"id": outgoing.address.get("id")},
        "message": {
            "id": str(outgoing.message_id),
            "seq": outgoing.seq,
            "kind": outgoing.kind,
            "text": outgoing.text,
            "author": outgoing.author_name,
            "created_at": created,
        },
    }
    if outgoing.files:
        data["message"]["attachments"] = [_attachment(file) for file in outgoing.files]
    if outgoing.receipt is not None:
        data["receipt"] = dict(outgoing.receipt)
    return {"type": "message.created", "timestamp": created, "data": data}


def _attachment(file: OutboundFile) -> dict[str, Any]:
    """As partners give us theirs: a link that is good for a while, or the bytes where there is no link."""
    named = {"name": file.name, "content_type": file.media_type, "size": len(file.data)}
    if file.url is not None:
        return {**named, "url": file.url}
    return {**named, "data": base64.b64encode(file.data).decode()}


def _is_envelope(item: Mapping[str, Any]) -> bool:
    return "from" not in item and isinstance(item.get("type"), str) and isinstance(item.get("data"), dict | list)


def _parse_many(body: Any, webhook_id: str | None) -> Parsed:
    """Items without an id of their own are told apart by their place in the call, which a retry repeats."""
    messages: list[InboundMessage] = []
    ignored: list[str] = []
    errors: list[str] = []
    items = _unwrapped(body, ignored)
    for place, (item, sent_at) in enumerate(items):
        fallback = webhook_id if len(items) == 1 else f"{webhook_id}:{place}" if webhook_id else None
        try:
            messages.append(_message(item, fallback, sent_at))
            found = _errors(messages[-1])
        except _BadItem as error:
            found = [str(error)]
        errors += found if len(items) == 1 else [f"item {place}: {one}" for one in found]
    return Parsed(messages=tuple(messages), ignored=tuple(ignored), errors=tuple(errors))


def _unwrapped(body: Any, ignored: list[str]) -> list[tuple[Any, Any]]:
    """Every item with the time its envelope gives, if there is one; envelopes of unknown types go to `ignored`."""
    items: list[tuple[Any, Any]] = []
    for outer in body if isinstance(body, list) else [body]:
        if not (isinstance(outer, dict) and _is_envelope(outer)):
            items.append((outer, None))
        elif outer["type"] not in _MESSAGE_TYPES:
            ignored.append(clean(outer["type"], 100))
        else:
            data = outer["data"]
            items.extend((inner, outer.get("timestamp")) for inner in (data if isinstance(data, list) else [data]))
    return items


def _message(item: Any, fallback_id: str | None, envelope_time: Any) -> InboundMessage:
    if not isinstance(item, dict):
        raise _BadItem("not an object")
    external_id = key(item.get("id")) or fallback_id
    if external_id is None:
        raise _BadItem("id: missing")
    text = _text(item.get("text"))
    given = item.get("attachments")
    files = _files(given) if given else _NO_FILES
    if not text.strip() and not files:
        raise _BadItem("text: missing or empty, and there is no attachment")
    content: dict[str, Any] = {}
    category = item.get("category")
    if category is not None and category not in _CATEGORIES:
        category = category.strip().lower() if isinstance(category, str) else None
        if category not in _CATEGORIES:
            content["category"], category = word(item["category"]), None
    return InboundMessage(
        external_id=external_id,
        sender=_sender(item.get("from")),
        text=text,
        subject=word(item.get("subject"), 1000),
        sent_at=_moment(item.get("sent_at")) or _moment(envelope_time),
        files=files,
        content=content,
        category=category,
        external_ref=key(item.get("conversation_ref")),
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return clean(value)
    return word(value) or ""


def _sender(given: Any) -> Sender:
    if not isinstance(given, dict):
        raise _BadItem("from: missing or not an object")
    value = key(given.get("id"))
    if value is None:
        raise _BadItem("from.id: missing or not text")
    return Sender(
        kind="partner",
        value=value,
        name=word(given.get("name")),
        email=word(given.get("email"), 320),
        phone=word(given.get("phone"), 64),
        language=word(given.get("language"), 35),
        address={"id": value},
    )


def _moment(value: Any) -> datetime | None:
    """RFC 3339, or Unix seconds or milliseconds; a time that cannot be read never costs the message."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _files(given: Any) -> tuple[InboundFile | RemoteFile, ...]:
    """Each attachment; one that cannot be used stays with the message, and says why."""
    if not isinstance(given, list):
        return (_unusable("attachments", "not an array"),)
    files: list[InboundFile | RemoteFile] = []
    for number, item in enumerate(given[:_FILES_LIMIT], 1):
        name = file_name(item.get("name") if isinstance(item, dict) else None, f"file-{number}")
        try:
            files.append(_file(item, name))
        except _BadItem as error:
            files.append(_unusable(name, str(error)))
    if (more := len(given) - _FILES_LIMIT) > 0:
        files.append(_unusable("attachments", f"{more} more than the {_FILES_LIMIT} that are read"))
    return tuple(files)


def _unusable(name: str, why: str) -> RemoteFile:
    return RemoteFile(name, media_type(None), None, {}, error=why)


def _errors(message: InboundMessage) -> list[str]:
    """What of a message that is kept could not be read."""
    failed = ((file.name, file.error) for file in message.files if isinstance(file, RemoteFile) and file.error)
    return [f"attachment {name}: {why}" for name, why in failed]


def _file(item: Any, name: str) -> InboundFile | RemoteFile:
    if not isinstance(item, dict):
        raise _BadItem("not an object")
    kind = media_type(item.get("content_type") or item.get("media_type"))
    data, url, size = item.get("data"), item.get("url"), item.get("size")
    if isinstance(data, str):
        try:
            return InboundFile(name=name, media_type=kind, data=base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            raise _BadItem("data is not base64") from None
    if isinstance(url, str) and url.startswith(("https://", "http://")) and len(url) <= 4000:
        known = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None
        return RemoteFile(name=name, media_type=kind, size=known, ref={"url": clean(url)})
    raise _BadItem("neither data nor an http(s) url")
