"""WeChat Official Account: encrypted pushes in, custom messages out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import httpx

from app.channels import wechat_api, wechat_crypto, wechat_media, wechat_parse, wechat_profile, wechat_xml
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    OutboundFile,
    Outgoing,
    Parsed,
    Profile,
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
from app.channels.text import clean, key
from app.channels.wechat_api import Api, Codes, TokenCall
from app.channels.wechat_config import WechatConfig
from app.errors import NotGenuine

TEXT_BYTES = 2048
_WINDOW_COUNT = 5
_ECHO_LIMIT = 1000
_MB = 1_000_000
_SENT_AS = {
    "image/jpeg": "image",
    "image/png": "image",
    "image/gif": "image",
    "audio/amr": "voice",
    "audio/mpeg": "voice",
}
CODES = Codes(
    failures={
        -1: SendFailure.RETRY,
        **dict.fromkeys((40001, 40014, 40125, 40243, 41001, 41004, 42001, 42007), SendFailure.REAUTH),
        **dict.fromkeys((40002, 40013, 40164, 48001, 48004, 48006, 50001, 61004, 89503), SendFailure.CONFIG),
        **dict.fromkeys((40003, 40132, 43004, 43005, 43019, 46004, 50002), SendFailure.RECIPIENT),
        # 45015: 48 hours have passed; 45047: so many were sent since the customer last wrote.
        **dict.fromkeys((45015, 45047), SendFailure.WINDOW),
        # 45009: the day's calls, until midnight in China; 45011: the minute's.
        **dict.fromkeys((45009, 45011), SendFailure.QUOTA),
        **dict.fromkeys((40007, 40008, 44002, 44004, 45001, 45002, 45008), SendFailure.PERMANENT),
    },
    waits_s={45011: 60.0},
    refusals={
        **dict.fromkeys((43004, 43005, 43019), RefusalReason.BLOCKED),
        **dict.fromkeys((40003, 46004), RefusalReason.UNREACHABLE),
    },
)


class WechatAdapter:
    """No idempotency, no status, no edits: what WeChat has taken it shows, and says nothing more."""

    type: ClassVar[str] = "wechat"
    config_model: ClassVar[ConfigModel] = WechatConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=TEXT_BYTES,
        text_unit="bytes",
        max_parts=_WINDOW_COUNT,
        idempotent_send=False,
        files=True,
        file_limits={"image": 10 * _MB, "audio": 2 * _MB},
        file_types={kind: [type for type in _SENT_AS if type.startswith(kind)] for kind in ("image", "audio")},
        max_files=_WINDOW_COUNT,
        window_h=48,
        window_count=_WINDOW_COUNT,
    )

    def verify(self, config: WechatConfig, call: Call) -> None:
        _opened(config, call)

    def handshake(self, config: WechatConfig, call: Call) -> Reply:
        """The test of the address is signed, but its `echostr` is not: short and printable, or nothing."""
        wechat_crypto.verify(config.token, call.query, "signature")
        echo = call.query.get("echostr", "")
        if not echo or len(echo) > _ECHO_LIMIT or not echo.isascii() or not echo.isprintable():
            raise NotGenuine("echostr is missing or odd")
        return Reply(echo.encode())

    def parse(self, config: WechatConfig, call: Call) -> Parsed:
        try:
            raw = _opened(config, call)
            return wechat_parse.parse_push(wechat_xml.read(raw), raw)
        except (NotGenuine, wechat_xml.BadBody) as error:
            raise Unparseable(str(error)) from None

    def answer(self, config: WechatConfig, call: Call, parsed: Parsed) -> Reply:
        """Within five seconds, or WeChat sends the push again and shows the customer that the service is broken."""
        return Reply(b"success")

    async def send(self, config: WechatConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """All files are uploaded before the first part goes out. WeChat names no message: there is no id."""
        open_id = key(outgoing.address.get("openid"))
        if open_id is None:
            raise SendError(SendFailure.RECIPIENT, "the address has no openid")
        kinds = [_kind(file) for file in outgoing.files]
        texts = split_text(clean(outgoing.text), TEXT_BYTES, utf8)
        if not 0 < len(texts) + len(kinds) <= _WINDOW_COUNT:
            raise SendError(
                SendFailure.PERMANENT, f"WeChat takes 1 to {_WINDOW_COUNT} texts of {TEXT_BYTES} bytes and files"
            )
        api = _api(config)
        bodies: list[Mapping[str, Any]] = [{"msgtype": "text", "text": {"content": text}} for text in texts]
        for file, kind in zip(outgoing.files, kinds, strict=True):
            media_id = await wechat_media.upload(api, http, kind, file)
            bodies.append({"msgtype": kind, kind: {"media_id": media_id}})
        await wechat_api.in_order(_steps(api, http, open_id, bodies), idempotent=False)
        return Sent()

    async def profile(self, config: WechatConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError."""
        return await wechat_profile.follower(_api(config), http, sender)

    async def check(self, config: WechatConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await wechat_api.check(_api(config), http)

    async def fetch(self, config: WechatConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        return await wechat_media.fetch(_api(config), http, file.ref.get("media_id"), limit=limit)


def _opened(config: WechatConfig, call: Call) -> bytes:
    return wechat_crypto.opened(call, token=config.token, aes_key=config.encoding_aes_key, receiver=config.app_id)


def _api(config: WechatConfig) -> Api:
    asked = {
        "grant_type": "client_credential",
        "appid": config.app_id,
        "secret": config.app_secret.get_secret_value(),
        "force_refresh": False,
    }
    return Api(
        base=config.api_base.rstrip("/"),
        owner=config.app_id,
        secret=config.app_secret,
        token_call=TokenCall("POST", "cgi-bin/stable_token", json=asked),
        codes=CODES,
    )


def _kind(file: OutboundFile) -> str:
    """Raises SendError: other kinds cannot be sent to a customer."""
    kind = _SENT_AS.get(file.media_type)
    if kind is None:
        raise SendError(SendFailure.PERMANENT, f"WeChat carries no files of type {clean(file.media_type, 100)}")
    if len(file.data) > (10 * _MB if kind == "image" else 2 * _MB):
        raise SendError(SendFailure.PERMANENT, f"the file is too large for WeChat's {kind} messages")
    return kind


def _steps(
    api: Api, http: httpx.AsyncClient, open_id: str, bodies: Sequence[Mapping[str, Any]]
) -> list[Callable[[], Awaitable[dict[str, Any]]]]:
    path = "cgi-bin/message/custom/send"
    return [partial(wechat_api.post, api, http, path, {"touser": open_id, **body}, idempotent=False) for body in bodies]
