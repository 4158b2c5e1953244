"""WhatsApp Cloud API: calls of Meta in, text and media out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import httpx

from app.channels import meta, meta_graph, whatsapp_parse
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    OutboundFile,
    Outgoing,
    Parsed,
    RefusalReason,
    RemoteFile,
    Reply,
    SendError,
    SendFailure,
    Sent,
    Template,
)
from app.channels.meta_graph import COMMON, Codes, Graph
from app.channels.provider import FetchError
from app.channels.split import split_text, utf16
from app.channels.text import key
from app.channels.whatsapp_config import WhatsAppConfig

_CAPTION_LIMIT = 1024
_BODY_LIMIT = 1024  # of a message with buttons
_MB = 1_000_000
# What WhatsApp shows as such; everything else goes as a document.
_SHOWN = {
    "image/jpeg": "image",
    "image/png": "image",
    "video/mp4": "video",
    "video/3gpp": "video",
    "audio/aac": "audio",
    "audio/mp4": "audio",
    "audio/mpeg": "audio",
    "audio/amr": "audio",
    "audio/ogg": "audio",
}
CODES = Codes(
    failures={
        **COMMON,
        # 131056 is about this pair of numbers, 131048 about too many complaints: both pass.
        **dict.fromkeys(
            (130429, 131000, 131016, 131048, 131056, 131057, 133004),
            SendFailure.RETRY,
        ),
        131047: SendFailure.WINDOW,
        **dict.fromkeys((131021, 131026, 131030, 131050), SendFailure.RECIPIENT),
        **dict.fromkeys((131005, 131031, 131042, 131045, 133010), SendFailure.CONFIG),
        # 131049: not within the next 24 h, whatever we do.
        **dict.fromkeys(
            (130472, 131008, 131009, 131049, 131051, 131052, 131053, 131062, *range(132000, 132017)),
            SendFailure.PERMANENT,
        ),
    },
    waits_s={131056: 6.0, 131048: 60.0},
    only_this=frozenset({131056}),
    refusals={
        131050: RefusalReason.OPT_OUT,
        **dict.fromkeys((131026, 131030), RefusalReason.UNREACHABLE),
    },
)


class WhatsAppAdapter:
    """No idempotency key: our own message id travels along and comes back in every status, which settles what got lost."""

    type: ClassVar[str] = "whatsapp"
    config_model: ClassVar[ConfigModel] = WhatsAppConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=4096,
        idempotent_send=False,
        files=True,
        file_limits={"image": 5 * _MB, "audio": 16 * _MB, "video": 16 * _MB, "file": 100 * _MB},
        edits=True,
        deletes=True,
        reactions=True,
        delivered=True,
        read=True,
        templates=True,
        template_buttons=True,
        window_h=24,
    )

    def verify(self, config: WhatsAppConfig, call: Call) -> None:
        meta.verify(config.app_secret, call)

    def handshake(self, config: WhatsAppConfig, call: Call) -> Reply:
        return meta.handshake(config.verify_token, call)

    def parse(self, config: WhatsAppConfig, call: Call) -> Parsed:
        return whatsapp_parse.parse(meta.read(call), phone_number_id=config.phone_number_id, codes=CODES)

    async def send(self, config: WhatsAppConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """All files are uploaded before the first part goes out; a short text is the caption of the first file."""
        target = _target(outgoing.address)
        graph = _graph(config)
        if outgoing.template is not None:
            bodies = [("template", _template(outgoing.template))]
            return await meta_graph.in_order(_steps(graph, config, http, target, str(outgoing.message_id), bodies))
        kinds = [_kind(file) for file in outgoing.files]
        bodies = _texts(outgoing, kinds)
        for file, kind in zip(outgoing.files, kinds, strict=True):
            bodies.append((kind, await _upload(graph, config, http, file, kind)))
        if outgoing.files and outgoing.text.strip() and bodies[0][0] != "text":
            bodies[0][1]["caption"] = outgoing.text.strip()
        if outgoing.choices:
            bodies = _asking(outgoing, bodies)
        return await meta_graph.in_order(_steps(graph, config, http, target, str(outgoing.message_id), bodies))

    async def fetch(self, config: WhatsAppConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        media_id = key(file.ref.get("media_id")) or ""
        if not media_id.replace("-", "").replace("_", "").isalnum():
            raise FetchError("the file has no usable media id", retry=False)
        graph = _graph(config)
        url = await graph.media_url(http, media_id, limit=limit)
        return await graph.download(http, url, limit=limit, signed=True)

    async def check(self, config: WhatsAppConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await meta_graph.check(_graph(config), http, config.phone_number_id)


def _graph(config: WhatsAppConfig) -> Graph:
    return meta_graph.graph(config.api_base, config.api_version, config.access_token, CODES)


def _target(address: Mapping[str, Any]) -> dict[str, Any]:
    """The number wins where both are known: then Meta goes on telling us the number."""
    to, recipient = key(address.get("to")), key(address.get("recipient"))
    kind = "group" if address.get("recipient_type") == "group" else "individual"
    if to is not None:
        return {"recipient_type": kind, "to": to}
    if recipient is not None:
        return {"recipient_type": kind, "recipient": recipient}
    raise SendError(SendFailure.RECIPIENT, "the address has neither a number nor a user id")


def _template(template: Template) -> dict[str, Any]:
    """The parameters are those of its body, in their order; so are its buttons, counted from 0."""
    components: list[dict[str, Any]] = []
    if template.parameters:
        given = [{"type": "text", "text": value} for value in template.parameters]
        components.append({"type": "body", "parameters": given})
    for index, button in enumerate(template.buttons):
        word = "payload" if button.kind == "quick_reply" else "text"
        filled = [{"type": word, word: button.value}]
        components.append({"type": "button", "sub_type": button.kind, "index": str(index), "parameters": filled})
    named = {"name": template.name, "language": {"code": template.language}}
    return {**named, "components": components} if components else named


def _kind(file: OutboundFile) -> str:
    """Raises SendError for a file that is too big for WhatsApp in any shape."""
    limits = WhatsAppAdapter.capabilities.file_limits
    kind = _SHOWN.get(file.media_type.lower(), "document")
    if kind != "document" and len(file.data) <= limits[kind]:
        return kind
    if len(file.data) > limits["file"]:
        raise SendError(SendFailure.PERMANENT, f"{file.name!r} is larger than 100 MB")
    return "document"


def _texts(outgoing: Outgoing, kinds: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The parts of the text, or none where the first file carries it."""
    text = outgoing.text.strip()
    if kinds and kinds[0] != "audio" and sum(map(utf16, text)) <= _CAPTION_LIMIT:
        return []
    can = WhatsAppAdapter.capabilities
    parts = split_text(text, can.text_limit, utf16)
    if not parts and not kinds:
        raise SendError(SendFailure.PERMANENT, "there is no text to send")
    if len(parts) > can.max_parts:
        raise SendError(SendFailure.PERMANENT, f"the text needs more than {can.max_parts} messages")
    return [("text", {"body": part, "preview_url": False}) for part in parts]


def _asking(outgoing: Outgoing, bodies: Sequence[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The text above the buttons where it fits there, else the question alone, behind the text."""
    text = outgoing.text.strip()
    alone = len(bodies) == 1 and bodies[0][0] == "text" and sum(map(utf16, text)) <= _BODY_LIMIT
    buttons = [{"type": "reply", "reply": {"id": item.payload, "title": item.title}} for item in outgoing.choices]
    asked = {
        "type": "button",
        "body": {"text": text if alone else outgoing.question},
        "action": {"buttons": buttons},
    }
    return [*([] if alone else bodies), ("interactive", asked)]


async def _upload(
    graph: Graph, config: WhatsAppConfig, http: httpx.AsyncClient, file: OutboundFile, kind: str
) -> dict[str, Any]:
    form = {"messaging_product": "whatsapp", "type": file.media_type}
    answer = await graph.upload(http, f"{config.phone_number_id}/media", form, "file", file)
    media_id = key(answer.get("id"))
    if media_id is None:
        raise SendError(SendFailure.RETRY, f"Meta gave no id for {file.name!r}")
    return {"id": media_id, "filename": file.name} if kind == "document" else {"id": media_id}


def _steps(
    graph: Graph,
    config: WhatsAppConfig,
    http: httpx.AsyncClient,
    target: Mapping[str, Any],
    message_id: str,
    bodies: Sequence[tuple[str, dict[str, Any]]],
) -> list[Callable[[], Awaitable[str | None]]]:
    """Only the last part carries our bare id: what is said of it is said of the whole message."""
    path, steps = f"{config.phone_number_id}/messages", list[Callable[[], Awaitable[str | None]]]()
    for number, (kind, body) in enumerate(bodies, 1):
        ours = message_id if number == len(bodies) else f"{message_id}:{number}/{len(bodies)}"
        payload = {
            "messaging_product": "whatsapp",
            **target,
            "type": kind,
            kind: body,
            "biz_opaque_callback_data": ours,
        }
        steps.append(partial(_post, graph, http, path, payload))
    return steps


async def _post(graph: Graph, http: httpx.AsyncClient, path: str, payload: Mapping[str, Any]) -> str:
    answer = await graph.post(http, path, payload)
    messages = meta.sequence(answer.get("messages"))
    message_id = key(meta.obj(messages[0]).get("id")) if messages else None
    if message_id is None:
        raise SendError(SendFailure.UNKNOWN, "Meta's answer names no message")
    return message_id
