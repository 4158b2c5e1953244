"""Text and files to a person on Messenger or Instagram: the Send API that both share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx
import orjson

from app.channels import meta_graph
from app.channels.base import Capabilities, OutboundFile, Outgoing, RefusalReason, SendError, SendFailure, Sent
from app.channels.meta_graph import COMMON, Codes, Graph
from app.channels.meta_messaging import METADATA
from app.channels.split import Width, split_text
from app.channels.text import key

CODES = Codes(
    failures={
        **COMMON,
        1200: SendFailure.RETRY,
        **dict.fromkeys(((10, 2018278), (10, 2018065), (10, 2534022)), SendFailure.WINDOW),
        **dict.fromkeys(
            (551, (10, 2018108), (100, 2018001), (100, 2534014), (200, 1545041)),
            SendFailure.RECIPIENT,
        ),
    },
    waits_s={},
    refusals=dict.fromkeys(
        (551, (10, 2018108), (100, 2018001), (100, 2534014), (200, 1545041)), RefusalReason.UNREACHABLE
    ),
)


TAG_WINDOW_H = 7 * 24.0


def with_tag(can: Capabilities, config: Mapping[str, Any]) -> Capabilities:
    """Meta lets people answer for a week, where it has granted the account that."""
    return replace(can, tag_window_h=TAG_WINDOW_H) if config.get("human_agent") else can


@dataclass(frozen=True, slots=True)
class Way:
    """How one of the two is sent. `account` is the sender in the path; `tagged` lets our id come back in the echo.

    `types` maps a kind to the media types that the provider shows as such; others go as `file` where `any_file`.
    """

    graph: Graph
    account: str
    can: Capabilities
    width: Width
    tagged: bool
    human_agent: bool
    platform: str | None = None
    types: Mapping[str, frozenset[str]] | None = None


async def send(way: Way, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
    """Text first, then each file; all files are uploaded before the first part goes out. Raises SendError."""
    recipient = _recipient(outgoing.address)
    parts = split_text(outgoing.text, way.can.text_limit, way.width)
    if not parts and not outgoing.files:
        raise SendError(SendFailure.PERMANENT, "there is no text to send")
    if len(parts) > way.can.max_parts:
        raise SendError(SendFailure.PERMANENT, f"the text needs more than {way.can.max_parts} messages")
    kinds = [_kind(way, file) for file in outgoing.files]
    messages: list[dict[str, Any]] = [{"text": part} for part in parts]
    for file, kind in zip(outgoing.files, kinds, strict=True):
        messages.append({"attachment": await _upload(way, http, file, kind)})
    if outgoing.choices:
        messages[-1]["quick_replies"] = [
            {"content_type": "text", "title": item.title, "payload": item.payload} for item in outgoing.choices
        ]
    steps: list[Callable[[], Awaitable[str | None]]] = []
    for number, message in enumerate(messages, 1):
        if way.tagged:
            part = "" if number == len(messages) else f"/{number}"
            message["metadata"] = f"{METADATA}{outgoing.message_id}{part}"
        # The tag is for people: what we send by ourselves may not carry it.
        tag = way.human_agent and outgoing.kind == "reply"
        steps.append(partial(_post, way, http, recipient, message, tag))
    return await meta_graph.in_order(steps)


def _recipient(address: Mapping[str, Any]) -> dict[str, str]:
    for name in ("id", "user_ref"):
        if (value := key(address.get(name))) is not None:
            return {name: value}
    raise SendError(SendFailure.RECIPIENT, "the address has no id")


def _kind(way: Way, file: OutboundFile) -> str:
    """Raises SendError for what the provider does not take."""
    main = file.media_type.partition("/")[0].lower()
    kind = main if main in ("image", "audio", "video") else "file"
    if way.types is not None and file.media_type.lower() not in way.types[kind]:
        raise SendError(SendFailure.PERMANENT, f"{file.name!r}: {file.media_type} cannot be sent on this channel")
    limit = way.can.file_limits.get(kind, 0)
    if len(file.data) > limit:
        raise SendError(SendFailure.PERMANENT, f"{file.name!r} is larger than {limit // 1_000_000} MB")
    return kind


async def _upload(way: Way, http: httpx.AsyncClient, file: OutboundFile, kind: str) -> dict[str, Any]:
    message = {"attachment": {"type": kind, "payload": {"is_reusable": True}}}
    form = {"message": orjson.dumps(message).decode()}
    if way.platform is not None:
        form["platform"] = way.platform
    answer = await way.graph.upload(http, f"{way.account}/message_attachments", form, "filedata", file)
    attachment_id = key(answer.get("attachment_id"))
    if attachment_id is None:
        raise SendError(SendFailure.RETRY, f"Meta gave no id for {file.name!r}")
    return {"type": kind, "payload": {"attachment_id": attachment_id}}


async def _post(
    way: Way, http: httpx.AsyncClient, recipient: Mapping[str, str], message: Mapping[str, Any], tagged: bool
) -> str:
    """An answer after the window is tried once more as a person's, where Meta allows that."""
    path = f"{way.account}/messages"
    payload = {"recipient": recipient, "messaging_type": "RESPONSE", "message": message}
    try:
        answer = await way.graph.post(http, path, payload)
    except SendError as error:
        if error.failure is not SendFailure.WINDOW or not tagged:
            raise
        tag = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
        answer = await way.graph.post(http, path, {**payload, **tag})
    message_id = key(answer.get("message_id"))
    if message_id is None:
        raise SendError(SendFailure.UNKNOWN, "Meta's answer names no message")
    return message_id
