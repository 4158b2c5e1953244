"""Viber: what people write to a bot in, its answers out."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import httpx
import orjson

from app.channels import fetching, meta, meta_graph, viber_parse
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    OutboundFile,
    Outgoing,
    Parsed,
    Profile,
    RemoteFile,
    Reply,
    Sender,
    SendError,
    SendFailure,
    Sent,
)
from app.channels.hiding import hide
from app.channels.provider import FetchError
from app.channels.split import split_text, utf16
from app.channels.text import key, word
from app.channels.viber_api import Viber
from app.channels.viber_config import ViberConfig
from app.errors import NotGenuine

_TEXT_LIMIT = 7000
_CAPTION_LIMIT = 512
_FILE_NAME_LIMIT = 256
_SILENT_API = 6  # from here on apps can press without showing it
_MB = 1_000_000
_LIMITS: Mapping[str, int] = {"image": _MB, "video": 26 * _MB, "file": 50 * _MB}
_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif"})
# Whoever has the address of a file may read it.
hide(r"(https?://[^\s?\"']*\.viber\.com/[^\s?\"']*)\?[^\s\"']*", by=r"\1?<signed>")


class ViberAdapter:
    """No idempotency key: a lost answer stays "maybe sent" until a status or the customer's next message names it."""

    type: ClassVar[str] = "viber"
    config_model: ClassVar[ConfigModel] = ViberConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=_TEXT_LIMIT,
        idempotent_send=False,
        files=True,
        file_limits={**_LIMITS, "audio": _LIMITS["file"]},
        delivered=True,
        read=True,
    )

    def verify(self, config: ViberConfig, call: Call) -> None:
        """Viber signs no time: a replayed call is genuine, and its event is known by its token."""
        given, secret = call.headers.get("x-viber-content-signature"), config.auth_token.get_secret_value()
        if not given or not secret:
            raise NotGenuine("x-viber-content-signature is needed")
        mac = hmac.digest(secret.encode("utf-8", "backslashreplace"), call.body, "sha256").hex()
        if not hmac.compare_digest(mac.encode(), given.encode("utf-8", "backslashreplace")):
            raise NotGenuine("x-viber-content-signature does not match")

    def parse(self, config: ViberConfig, call: Call) -> Parsed:
        return viber_parse.parse(meta.read(call))

    def answer(self, config: ViberConfig, call: Call, parsed: Parsed) -> Reply:
        """Viber shows the answer to an opened chat as our welcome; to everything else it only wants to hear 200."""
        if config.welcome is None or parsed.ignored != ("conversation_started",):
            return Reply(b"")
        welcome = {"sender": _sender(config), "type": "text", "text": config.welcome}
        return Reply(orjson.dumps(welcome), "application/json")

    async def send(self, config: ViberConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """The text first, in several messages where it is long, then each file by its link; the last one's id counts."""
        receiver = key(outgoing.address.get("receiver"))
        if receiver is None:
            raise SendError(SendFailure.RECIPIENT, "the address names nobody")
        bodies = _bodies(outgoing)
        around = {
            "receiver": receiver,
            "min_api_version": 1,
            "sender": _sender(config),
            "tracking_data": f"{viber_parse.TRACKING}{outgoing.message_id}",
        }
        if outgoing.choices:
            bodies[-1] |= {"min_api_version": _SILENT_API, "keyboard": _keyboard(outgoing)}
        steps: list[Callable[[], Awaitable[str | None]]] = [
            partial(_post, config, http, {**around, **body}, outgoing.attempt) for body in bodies
        ]
        return await meta_graph.in_order(steps)

    async def fetch(self, config: ViberConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        url = file.ref.get("url")
        if not isinstance(url, str):
            raise FetchError("the file has no address", retry=False)
        source = fetching.Source(config.api_base, (), {}, ("viber.com",))
        return await fetching.download(http, source, url, limit=limit)

    async def profile(self, config: ViberConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Viber tells it twice in twelve hours at most. Raises SendError."""
        answer = await _viber(config).post(http, "get_user_details", {"id": sender.value}, idempotent=True)
        user = meta.obj(answer.get("user"))
        return Profile(word(user.get("name")), word(user.get("language"), 35), word(user.get("avatar"), 2000))

    async def check(self, config: ViberConfig, http: httpx.AsyncClient) -> None:
        """Whether the token opens the account, and whether Viber knows where to call us. Raises SendError."""
        account = await _viber(config).post(http, "get_account_info", {}, idempotent=True)
        if not account.get("webhook"):
            raise SendError(
                SendFailure.CONFIG, "Viber has no webhook of this account: call set_webhook with our address"
            )


def _viber(config: ViberConfig) -> Viber:
    return Viber(config.api_base.rstrip("/"), config.auth_token)


def _sender(config: ViberConfig) -> dict[str, str]:
    avatar = {"avatar": config.sender_avatar} if config.sender_avatar else {}
    return {"name": config.sender_name, **avatar}


def _bodies(outgoing: Outgoing) -> list[dict[str, Any]]:
    """The messages that carry it. Raises SendError for what Viber would not take."""
    text, can = outgoing.text.strip(), ViberAdapter.capabilities
    files = [_by_link(file) for file in outgoing.files]
    if files and files[0]["type"] == "picture" and sum(map(utf16, text)) <= _CAPTION_LIMIT:
        files[0]["text"], text = text, ""
    parts = split_text(text, _TEXT_LIMIT, utf16)
    if not parts and not files:
        raise SendError(SendFailure.PERMANENT, "there is no text to send")
    if len(parts) > can.max_parts:
        raise SendError(SendFailure.PERMANENT, f"the text needs more than {can.max_parts} messages")
    return [*({"type": "text", "text": part} for part in parts), *files]


def _keyboard(outgoing: Outgoing) -> dict[str, Any]:
    """Viber sends back the body of what was pressed as if it had been written: it is not shown to the customer."""
    buttons = [
        {
            "Columns": 3,
            "Rows": 1,
            "ActionType": "reply",
            "ActionBody": f"{item.payload} {item.title}",
            "Text": item.title,
            "Silent": True,
        }
        for item in outgoing.choices
    ]
    return {"Type": "keyboard", "DefaultHeight": False, "Buttons": buttons}


def _by_link(file: OutboundFile) -> dict[str, Any]:
    """Viber fetches files itself. Raises SendError without an address, or for a file that it would not take."""
    if file.url is None:
        raise SendError(
            SendFailure.PERMANENT, f"{file.name!r} has no public address, and Viber takes files only by one"
        )
    size, kind = len(file.data), file.media_type.lower()
    if kind in _PICTURES and size <= _LIMITS["image"]:
        return {"type": "picture", "text": "", "media": file.url}
    if kind == "video/mp4" and size <= _LIMITS["video"]:
        return {"type": "video", "media": file.url, "size": size}
    if size > _LIMITS["file"]:
        raise SendError(SendFailure.PERMANENT, f"{file.name!r} is larger than {_LIMITS['file'] // _MB} MB")
    return {"type": "file", "media": file.url, "size": size, "file_name": file.name[-_FILE_NAME_LIMIT:]}


async def _post(config: ViberConfig, http: httpx.AsyncClient, payload: Mapping[str, Any], attempt: int) -> str:
    answer = await _viber(config).post(http, "send_message", payload, idempotent=False, attempt=attempt)
    token = key(answer.get("message_token"))
    if token is None:
        raise SendError(SendFailure.UNKNOWN, "Viber's answer names no message")
    return token
