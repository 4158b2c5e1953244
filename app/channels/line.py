"""LINE: webhook events in, push messages out."""

import base64
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID, uuid5

import httpx
import orjson

from app import clock
from app.channels import fetching, line_media, line_parse, line_profile, meta, provider
from app.channels.base import (
    Call,
    Capabilities,
    Choice,
    ConfigModel,
    Outgoing,
    Parsed,
    Profile,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    Sent,
)
from app.channels.line_config import LineConfig
from app.channels.provider import FetchError
from app.channels.split import split_text, utf16
from app.channels.text import clean, key
from app.errors import NotGenuine

_TEXT_LIMIT = 5000
_PER_PUSH = 5


class LineAdapter:
    """The retry key is our message id, so a second send of the same message is harmless: LINE answers 409 to it."""

    type: ClassVar[str] = "line"
    config_model: ClassVar[ConfigModel] = LineConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=_TEXT_LIMIT,
        idempotent_send=True,
        files=True,
        file_limits=line_media.LIMITS,
        file_types=line_media.TYPES,
        edits=True,
        deletes=True,
    )

    def verify(self, config: LineConfig, call: Call) -> None:
        """LINE signs no time: a replayed call is genuine, and its events are known by their ids."""
        given, secret = call.headers.get("x-line-signature"), config.channel_secret.get_secret_value()
        if not given or not secret:
            raise NotGenuine("x-line-signature is needed")
        mac = base64.b64encode(hmac.digest(secret.encode("utf-8", "backslashreplace"), call.body, "sha256"))
        if not hmac.compare_digest(mac, given.encode("utf-8", "backslashreplace")):
            raise NotGenuine("x-line-signature does not match")

    def parse(self, config: LineConfig, call: Call) -> Parsed:
        return line_parse.parse(meta.read(call))

    async def send(self, config: LineConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """Five messages go in one push. A further push has a key of its own, the same at every attempt."""
        to = key(outgoing.address.get("to"))
        if to is None:
            raise SendError(SendFailure.RECIPIENT, "the address names nobody")
        parts = split_text(outgoing.text, _TEXT_LIMIT, utf16)
        if not parts and not outgoing.files:
            raise SendError(SendFailure.PERMANENT, "there is no text to send")
        if len(parts) > self.capabilities.max_parts:
            raise SendError(SendFailure.PERMANENT, f"the text needs more than {self.capabilities.max_parts} messages")
        messages: list[dict[str, Any]] = [{"type": "text", "text": part} for part in parts]
        messages += [dict(line_media.message_of(file)) for file in outgoing.files]
        if outgoing.choices:
            messages[-1]["quickReply"] = {"items": [_button(item) for item in outgoing.choices]}
        last: str | None = None
        for start in range(0, len(messages), _PER_PUSH):
            payload = {"to": to, "messages": messages[start : start + _PER_PUSH]}
            last = await _push(config, http, _retry_key(outgoing.message_id, start), payload)
        return Sent(provider_message_id=last)

    async def fetch(self, config: LineConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """LINE keeps a file for a while only. Raises FetchError."""
        message_id = key(file.ref.get("message_id")) or ""
        if not (message_id.isascii() and message_id.isalnum()):
            raise FetchError("the file has no usable message id", retry=False)
        source = fetching.Source(config.files_base, (), _headers(config))
        url = f"{config.files_base}/v2/bot/message/{message_id}/content"
        return await fetching.download(http, source, url, limit=limit)

    async def profile(self, config: LineConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError."""
        return line_profile.read(await _call(config, http, "GET", line_profile.path_of(sender)))

    async def check(self, config: LineConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await _call(config, http, "GET", "info")


def _button(choice: Choice) -> dict[str, Any]:
    """LINE shows the title as what the customer said, and tells us only the data."""
    data = f"{choice.payload} {choice.title}"
    action = {"type": "postback", "label": choice.title, "data": data, "displayText": choice.title}
    return {"type": "action", "action": action}


def _headers(config: LineConfig) -> dict[str, str]:
    return {"authorization": f"Bearer {config.access_token.get_secret_value()}"}


def _retry_key(message_id: UUID, start: int) -> str:
    return str(uuid5(message_id, f"push {start}") if start else message_id)


async def _push(config: LineConfig, http: httpx.AsyncClient, retry_key: str, payload: Mapping[str, Any]) -> str | None:
    answer = await _call(config, http, "POST", "message/push", payload, {"x-line-retry-key": retry_key})
    sent = [meta.obj(item) for item in meta.sequence(answer.get("sentMessages"))]
    return key(sent[-1].get("id")) if sent else None


async def _call(
    config: LineConfig,
    http: httpx.AsyncClient,
    method: str,
    path: str,
    payload: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Raises SendError. 409 says that the same call was accepted before."""
    headers = {**_headers(config), "content-type": "application/json", **(more or {})}
    content = orjson.dumps(payload) if payload is not None else None
    url = f"{config.api_base.rstrip('/')}/v2/bot/{path}"
    try:
        response = await http.request(method, url, content=content, headers=headers, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        provider.fail_on(error, idempotent=True)
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and (response.is_success or (response.status_code == 409 and payload is not None)):
        return answer
    if response.is_success:
        raise SendError(SendFailure.RETRY, f"an answer that is not LINE's (status {response.status_code})")
    if response.status_code == 409 and payload is not None:
        return {}
    raise _refusal(config, response, answer if isinstance(answer, dict) else {})


def _refusal(config: LineConfig, response: httpx.Response, answer: Mapping[str, Any]) -> SendError:
    details = [meta.obj(item).get("message") for item in meta.sequence(answer.get("details"))[:5]]
    said = " - ".join(text for text in (answer.get("message"), *details) if isinstance(text, str) and text)
    said = clean(said.replace(config.access_token.get_secret_value(), "<token>"), 300)
    failure = _failure(response.status_code, said.lower())
    wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    return SendError(
        failure,
        f"LINE answered {response.status_code}{f': {said}' if said else ''}",
        retry_after_s=wish if failure is SendFailure.RETRY else None,
    )


def _failure(status: int, said: str) -> SendFailure:
    if status == 429 and ("monthly" in said or "quota" in said):
        return SendFailure.QUOTA
    if status in (408, 429) or status >= 500:
        return SendFailure.RETRY
    if status == 401:
        return SendFailure.REAUTH
    if status == 400 and ("'to'" in said or "failed to send messages" in said):
        return SendFailure.RECIPIENT
    if 300 <= status < 400 or status in (403, 404):
        return SendFailure.CONFIG
    return SendFailure.PERMANENT
