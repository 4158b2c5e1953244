"""WeCom customer service: a call rings a bell, the messages are pulled; kf/send_msg out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import httpx

from app.channels import wechat_api, wechat_crypto, wechat_media, wechat_profile, wechat_xml, wecom_names, wecom_parse
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    OutboundFile,
    Outgoing,
    Parsed,
    Profile,
    Pulled,
    RefusalReason,
    RemoteFile,
    Reply,
    Sender,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.split import split_text, utf8
from app.channels.text import clean, key, word
from app.channels.wechat_api import Api, Codes, Refused, TokenCall
from app.channels.wecom_config import WecomConfig
from app.errors import NotGenuine

TEXT_BYTES = 2048
_WINDOW_COUNT = 5
_HEAD_BYTES = 1024  # of the text above a menu
_BELL = "kf_msg_or_event"
_PAGE = 1000
_BELL_IS_OLD = 95007
_MB = 1_000_000
_SENT_AS = {
    "image/jpeg": "image",
    "image/png": "image",
    "audio/amr": "voice",
    "video/mp4": "video",
}
_LIMITS = {"image": 10 * _MB, "voice": 2 * _MB, "video": 10 * _MB, "file": 20 * _MB}
CODES = Codes(
    failures={
        **dict.fromkeys((-1, 45009, 45033), SendFailure.RETRY),
        **dict.fromkeys((40001, 40014, 41001, 41004, 42001), SendFailure.REAUTH),
        **dict.fromkeys(
            (40013, 48002, 60011, 60020, 60030, 95000, 95003, 95004, 95011, 95012, 95017, 301002), SendFailure.CONFIG
        ),
        **dict.fromkeys((40003, 40031, 40096, 84061), SendFailure.RECIPIENT),
        # So many messages, so much time since the customer last wrote; the session has ended.
        **dict.fromkeys((95001, 95002, 95013, 95024), SendFailure.WINDOW),
        # 95018: the session is in a state in which the API may not send; see _explained.
        **dict.fromkeys((40004, 40006, 40007, 40008, 44004, 45002, _BELL_IS_OLD, 95018), SendFailure.PERMANENT),
    },
    # Who calls too often is let in again after a minute, or after an hour.
    waits_s={45009: 60.0, 45033: 5.0},
    refusals=dict.fromkeys((40003, 40096), RefusalReason.UNREACHABLE),
)


class WecomAdapter:
    """Messages carry ids of ours: a second send of one is the same message, and its failure names it."""

    type: ClassVar[str] = "wecom"
    config_model: ClassVar[ConfigModel] = WecomConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=TEXT_BYTES,
        text_unit="bytes",
        max_parts=_WINDOW_COUNT,
        idempotent_send=True,
        files=True,
        file_limits={"image": 10 * _MB, "audio": 2 * _MB, "video": 10 * _MB, "file": 20 * _MB},
        deletes=True,
        window_h=48,
        window_count=_WINDOW_COUNT,
    )

    def verify(self, config: WecomConfig, call: Call) -> None:
        _opened(config, call)

    def handshake(self, config: WecomConfig, call: Call) -> Reply:
        """WeCom wants to read what is inside the echostr, and nothing else."""
        # A plus that was sent bare has become a space on the way here.
        echo = call.query.get("echostr", "").replace(" ", "+")
        wechat_crypto.verify(config.token, call.query, "msg_signature", echo)
        return Reply(wechat_crypto.unseal(config.encoding_aes_key, config.corp_id, echo))

    def parse(self, config: WecomConfig, call: Call) -> Parsed:
        """A call holds no messages: a bell for us is empty, everything else is ignored by name."""
        event = _event(config, call)
        if _rings(config, event):
            return Parsed()
        kind, name = word(event.get("MsgType"), 100), word(event.get("Event"), 100)
        if name == _BELL:
            return Parsed(ignored=(f"{_BELL} of another account",))
        return Parsed(ignored=((name if kind == "event" and name else kind) or "empty",))

    def answer(self, config: WecomConfig, call: Call, parsed: Parsed) -> Reply:
        return Reply(b"success")

    def bell(self, config: WecomConfig, call: Call) -> Mapping[str, str] | None:
        """`token` lets us pull as often as we are rung, for ten minutes."""
        event = _event(config, call)
        if not _rings(config, event):
            return None
        token = key(event.get("Token"))
        return {"source": config.open_kfid, **({"token": token} if token else {})}

    async def pull(self, config: WecomConfig, bell: Mapping[str, str], cursor: str, http: httpx.AsyncClient) -> Pulled:
        """A page of at most 1000; an empty one may have another behind it. Raises SendError."""
        api = _api(config)
        asked: dict[str, Any] = {"open_kfid": config.open_kfid, "limit": _PAGE, "voice_format": 0}
        if cursor:
            asked["cursor"] = cursor
        try:
            answer = await _sync(api, http, {**asked, "token": bell["token"]} if bell.get("token") else asked)
        except Refused as error:
            if error.code != _BELL_IS_OLD or not bell.get("token"):
                raise
            answer = await _sync(api, http, asked)
        onward = answer.get("next_cursor")
        moved = isinstance(onward, str) and onward != "" and onward != cursor
        return Pulled(
            parsed=await wecom_names.named(api, http, wecom_parse.parse_page(answer.get("msg_list"))),
            cursor=onward if isinstance(onward, str) and moved else cursor,
            more=moved and answer.get("has_more") in (1, True),
        )

    async def send(self, config: WecomConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """All files are uploaded before the first part goes out."""
        user = key(outgoing.address.get("external_userid"))
        if user is None:
            raise SendError(SendFailure.RECIPIENT, "the address has no external_userid")
        kinds = [_kind(file) for file in outgoing.files]
        texts = split_text(clean(outgoing.text), TEXT_BYTES, utf8)
        if not 0 < len(texts) + len(kinds) <= _WINDOW_COUNT:
            raise SendError(
                SendFailure.PERMANENT, f"WeCom takes 1 to {_WINDOW_COUNT} texts of {TEXT_BYTES} bytes and files"
            )
        api = _api(config)
        bodies: list[Mapping[str, Any]] = [{"msgtype": "text", "text": {"content": text}} for text in texts]
        for file, kind in zip(outgoing.files, kinds, strict=True):
            media_id = await wechat_media.upload(api, http, kind, file)
            bodies.append({"msgtype": kind, kind: {"media_id": media_id}})
        if outgoing.choices:
            bodies = _asking(outgoing, bodies)
        target = {"touser": user, "open_kfid": config.open_kfid}
        numbered = [
            {**target, "msgid": wecom_parse.own_id(outgoing.message_id, part), **body}
            for part, body in enumerate(bodies)
        ]
        await wechat_api.in_order(_steps(api, http, numbered), idempotent=True)
        return Sent(provider_message_id=wecom_parse.own_id(outgoing.message_id))

    async def profile(self, config: WecomConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError."""
        return await wechat_profile.customer(_api(config), http, sender)

    async def check(self, config: WecomConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await wechat_api.check(_api(config), http)

    async def fetch(self, config: WecomConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        return await wechat_media.fetch(_api(config), http, file.ref.get("media_id"), limit=limit)


def _asking(outgoing: Outgoing, bodies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The text above the menu where it fits there, else the question alone, behind the text. Raises SendError."""
    text = clean(outgoing.text).strip()
    alone = len(bodies) == 1 and len(text.encode()) <= _HEAD_BYTES
    menu = [{"type": "click", "click": {"id": item.payload, "content": item.title}} for item in outgoing.choices]
    asked = {"head_content": text if alone else outgoing.question, "list": menu}
    found = [*([] if alone else bodies), {"msgtype": "msgmenu", "msgmenu": asked}]
    if len(found) > _WINDOW_COUNT:
        raise SendError(SendFailure.PERMANENT, "no message is left for the menu")
    return found


def _opened(config: WecomConfig, call: Call) -> bytes:
    return wechat_crypto.opened(call, token=config.token, aes_key=config.encoding_aes_key, receiver=config.corp_id)


def _event(config: WecomConfig, call: Call) -> wechat_xml.Tree:
    """Raises Unparseable."""
    try:
        return wechat_xml.read(_opened(config, call))
    except (NotGenuine, wechat_xml.BadBody) as error:
        raise Unparseable(str(error)) from None


def _rings(config: WecomConfig, event: wechat_xml.Tree) -> bool:
    """All customer-service accounts of a company share one callback; the others' bells are not for this channel."""
    return word(event.get("Event"), 100) == _BELL and word(event.get("OpenKfId")) == config.open_kfid


def _api(config: WecomConfig) -> Api:
    asked = {"corpid": config.corp_id, "corpsecret": config.secret.get_secret_value()}
    return Api(
        base=config.api_base.rstrip("/"),
        owner=config.corp_id,
        secret=config.secret,
        token_call=TokenCall("GET", "cgi-bin/gettoken", params=asked),
        codes=CODES,
    )


async def _sync(api: Api, http: httpx.AsyncClient, asked: Mapping[str, Any]) -> dict[str, Any]:
    return await wechat_api.post(api, http, "cgi-bin/kf/sync_msg", asked, idempotent=True)


def _kind(file: OutboundFile) -> str:
    """What WeCom cannot show as such goes as a file. Raises SendError."""
    kind = _SENT_AS.get(file.media_type, "file")
    if len(file.data) > _LIMITS[kind]:
        kind = "file"
    if len(file.data) > _LIMITS[kind]:
        raise SendError(SendFailure.PERMANENT, f"the file has more than {_LIMITS[kind]} bytes")
    return kind


def _steps(
    api: Api, http: httpx.AsyncClient, bodies: Sequence[Mapping[str, Any]]
) -> list[Callable[[], Awaitable[dict[str, Any]]]]:
    return [partial(_send_part, api, http, body) for body in bodies]


async def _send_part(api: Api, http: httpx.AsyncClient, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return await wechat_api.post(api, http, "cgi-bin/kf/send_msg", body, idempotent=True)
    except Refused as error:
        if error.code != 95018:
            raise
        raise SendError(
            SendFailure.PERMANENT, f"the session is with a person in WeCom, or waits for one there ({error.detail})"
        ) from None
