"""Telephone systems that speak our own events: signed JSON in, asked to place calls the same way. channels.md 2.3."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import orjson

from app import clock
from app.channels import provider, signatures, voice_numbers
from app.channels.base import (
    Call,
    CallUpdate,
    Outgoing,
    Parsed,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.meta import BadItem, Found, digest, moment
from app.channels.text import TEXT_LIMIT, JSONDecodeError, clean, file_name, key, loads, media_type, word
from app.channels.voice_config import VoiceConfig

_EVENTS = ("started", "answered", "dtmf", "ended", "recording", "transcript", "voicemail")
_STATES = {"started": "ringing", "answered": "answered", "ended": "ended", "voicemail": "voicemail"}
_MANY = 1_000


def read(call: Call) -> list[Any]:
    """The events of a call: one, an array, or `{type, timestamp, data}` around either. Raises Unparseable."""
    try:
        body = loads(call.body)
    except JSONDecodeError as error:
        raise Unparseable(f"not JSON: {error}") from None
    items = [inner for outer in (body if isinstance(body, list) else [body]) for inner in _unwrapped(outer)]
    if len(items) > _MANY:
        raise Unparseable(f"more than {_MANY} events")
    return items


def _unwrapped(item: Any) -> list[Any]:
    if not isinstance(item, dict) or "event" in item or not isinstance(item.get("data"), dict | list):
        return [item]
    data, outer = item["data"], {"event": item.get("type"), "at": item.get("timestamp")}
    inner = data if isinstance(data, list) else [data]
    return [{**outer, **each} if isinstance(each, dict) else each for each in inner]


def parse(config: VoiceConfig, call: Call) -> Parsed:
    found, webhook_id = Found(), key(call.headers.get("webhook-id"))
    for place, item in enumerate(read(call)):
        with found.item(f"event {place}"):
            _event(config, item, f"{webhook_id}:{place}", found)
    return found.parsed()


def call_of(call: Call) -> str | None:
    """The call that a call's only event is about."""
    items = read(call)
    return key(items[0].get("call_id")) if len(items) == 1 and isinstance(items[0], dict) else None


def _event(config: VoiceConfig, item: Any, nowhere: str, found: Found) -> None:
    if not isinstance(item, dict):
        raise BadItem("not an object")
    name = word(item.get("event")) or ""
    kind = name.removeprefix("call.")
    call_id = key(item.get("call_id"))
    if call_id is None:
        raise BadItem("call_id: missing or not text")
    if kind not in _EVENTS:
        found.ignore("event", name or "without a name")
        return
    outbound = item.get("direction") == "outbound"
    at, text, digits = moment(item.get("at")), _text(item.get("text")), _digits(item, kind)
    recording, refused = _recording(item.get("recording"), kind, call_id)
    ours = _ours(call_id) if outbound else None
    caller, callee = _said(item.get("from")), _said(item.get("to"))
    content = {name: value for name in ("agent", "queue") if (value := word(item.get(name)))}
    if refused:
        content["recording_failed"] = refused
    if text and kind not in ("transcript", "voicemail", "dtmf"):
        content["note"] = text[:2_000]
    told = (kind, call_id, item.get("at"), digits, text, recording.ref if recording else None, item.get("cause"))
    found.calls.append(
        CallUpdate(
            key=digest(*told, nowhere if at is None else ""),
            call_id=call_id,
            sender=_customer(config, item, call_id, kind, outbound=outbound),
            direction="outbound" if outbound else "inbound",
            state=_STATES.get(kind),
            at=at,
            duration_s=_seconds(item.get("duration_s")),
            cause=word(item.get("cause")),
            recording=recording,
            transcript=text if kind in ("transcript", "voicemail") else None,
            digits=digits,
            caller=caller,
            callee=callee,
            our_id=ours,
            content=content,
        )
    )


def _ours(call_id: str) -> str | None:
    """A call that we asked for goes by the name that we gave it: our message's."""
    try:
        return str(UUID(call_id))
    except ValueError:
        return None


def _customer(
    config: VoiceConfig, item: Mapping[str, Any], call_id: str, kind: str, *, outbound: bool
) -> Sender | None:
    """None where an event leaves out who it was: one that begins the call leaves it out because nobody knows."""
    side = "to" if outbound else "from"
    if side not in item and kind != "started":
        return None
    given = item.get(side)
    name = word(given.get("name")) if isinstance(given, dict) else word(item.get("name"))
    return voice_numbers.party(_said(given), call_id=call_id, country=config.home, name=name)


def _said(given: Any) -> str | None:
    if isinstance(given, dict):
        given = given.get("number") or given.get("id")
    return word(given)


def _text(given: Any) -> str | None:
    return clean(given, TEXT_LIMIT).strip() or None if isinstance(given, str) else None


def _digits(item: Mapping[str, Any], kind: str) -> str | None:
    """Of a key that was pressed, whatever it is called there."""
    given = next((item[name] for name in ("digits", "digit", "text") if item.get(name) is not None), None)
    return word(given, 64) if kind == "dtmf" else None


def _seconds(given: Any) -> float | None:
    good = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 10_000_000
    return float(given) if good else None


def _recording(given: Any, kind: str, call_id: str) -> tuple[RemoteFile | None, str | None]:
    """(the file, why there is none)."""
    if given is None:
        return None, "no recording in it" if kind == "recording" else None
    if not isinstance(given, dict):
        return None, "not an object"
    url, blob = given.get("url"), key(given.get("blob_id"))
    kind_of = media_type(given.get("mime") or given.get("media_type"), "audio/wav")
    ref: dict[str, Any] = {"duration_s": _seconds(given.get("duration_s"))}
    if blob is not None:
        ref |= {"id": blob, "blob_id": blob}
    elif isinstance(url, str) and url.startswith(("https://", "http://")) and len(url) <= 4_000:
        ref |= {"id": digest(url), "url": clean(url)}
    else:
        return None, "neither blob_id nor an http(s) url"
    ending = {"audio/mpeg": "mp3", "audio/ogg": "ogg", "audio/mp4": "m4a", "audio/webm": "webm"}.get(kind_of, "wav")
    return RemoteFile(file_name(given.get("name"), f"call-{call_id[:60]}.{ending}"), kind_of, None, ref), None


async def ask(config: VoiceConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
    """Tell the other system to place a call. Its events are to name the call `call_id`. Raises SendError."""
    if config.callback_url is None:
        raise SendError(SendFailure.CONFIG, "the channel has no callback_url: nobody can be asked to place calls")
    wanted, at = outgoing.call or {}, clock.now()
    data = {
        "call_id": str(outgoing.message_id),
        "conversation_id": str(outgoing.conversation_id),
        "direction": "outbound",
        "to": wanted.get("to"),
        "agent": wanted.get("agent"),
        "agent_name": outgoing.author_name,
    }
    body = orjson.dumps({"type": "call.requested", "timestamp": clock.rfc3339(at), "data": data})
    headers = signatures.sign_webhook(config.keys[0], str(outgoing.message_id), body, at=at)
    headers["content-type"] = "application/json"
    try:
        request = http.build_request("POST", config.callback_url, content=body, headers=headers)
        response = await http.send(request, stream=True, follow_redirects=False)
        try:
            if not response.is_success:
                raise _refusal(response, await provider.excerpt(response))
        finally:
            await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        provider.fail_on(error, idempotent=False)
    return Sent(provider_message_id=str(outgoing.message_id))


def _refusal(response: httpx.Response, said: str) -> SendError:
    status = response.status_code
    detail = f"the telephone system answered {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        return SendError(SendFailure.REAUTH, detail)
    if status in (408, 425, 429, 503):
        wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
        return SendError(SendFailure.RETRY, detail, retry_after_s=wish)
    if status >= 500:
        return SendError(SendFailure.UNKNOWN, detail)
    return SendError(SendFailure.CONFIG if 300 <= status < 400 else SendFailure.PERMANENT, detail)
