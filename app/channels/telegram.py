"""Telegram: updates of the Bot API in, sendMessage out."""

import asyncio
import re
from typing import Any, ClassVar

import httpx
import orjson

from app import clock
from app.channels import provider, signatures, telegram_files, telegram_updates
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    Outgoing,
    Parsed,
    RefusalReason,
    RemoteFile,
    Reply,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.config import TelegramConfig
from app.channels.hiding import hide, without
from app.channels.telegram_files import Part
from app.channels.text import JSONDecodeError, loads

_PATIENCE_S = 5.0
_TARGET = ("chat_id", "message_thread_id", "business_connection_id")
_FETCH_LIMIT = 20_000_000  # bytes of a file that Telegram gives to bots
_NOT_THERE = (
    "chat not found",
    "user not found",
    "peer_id_invalid",
    "blocked",
    "deactivated",
    "kicked",
    "chat_write_forbidden",
)

hide(r"/bot[^/\s]+/", by="/bot<token>/")


class _Refused(Exception):
    """Telegram said no; `parameters` may hold retry_after or migrate_to_chat_id."""

    def __init__(self, code: int, description: str, parameters: dict[str, Any]) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters

    @property
    def retry_after(self) -> float | None:
        wish = self.parameters.get("retry_after")
        return float(wish) if isinstance(wish, int | float) else None


class TelegramAdapter:
    """Telegram has no idempotency key: when an answer is lost, nobody knows whether the message went out."""

    type: ClassVar[str] = "telegram"
    config_model: ClassVar[ConfigModel] = TelegramConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=telegram_files.TEXT_LIMIT,
        idempotent_send=False,
        files=True,
        file_limits=telegram_files.LIMITS,
        edits=True,
        reactions=True,
    )

    def verify(self, config: TelegramConfig, call: Call) -> None:
        given = call.headers.get("x-telegram-bot-api-secret-token")
        signatures.verify_token(config.secret_token.get_secret_value(), given)

    def parse(self, config: TelegramConfig, call: Call) -> Parsed:
        try:
            return telegram_updates.parse_update(loads(call.body))
        except JSONDecodeError as error:
            raise Unparseable(f"not JSON: {error}") from None

    def answer(self, config: TelegramConfig, call: Call, parsed: Parsed) -> Reply:
        """A pressed button shows a turning clock until the bot answers; it may do so in its answer to the call."""
        try:
            query = telegram_updates.callback_of(loads(call.body))
        except JSONDecodeError:
            query = None
        if query is None:
            return Reply(b"")
        body = {"method": "answerCallbackQuery", "callback_query_id": query}
        return Reply(orjson.dumps(body), "application/json")

    async def send(self, config: TelegramConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """A long text goes out as several messages, each file as one; `provider_message_id` is that of the last."""
        target = {name: outgoing.address[name] for name in _TARGET if name in outgoing.address}
        if "chat_id" not in target:
            raise SendError(SendFailure.RECIPIENT, "the address has no chat_id")
        parts = telegram_files.parts(outgoing.text, outgoing.files, at_most=self.capabilities.max_parts)
        sent = Sent()
        for number, part in enumerate(parts):
            if outgoing.choices and number == len(parts) - 1:
                target["reply_markup"] = _keyboard(outgoing)
            try:
                sent = await _send_part(config, http, target, part, patient=number > 0)
            except SendError as error:
                if number == 0:
                    raise
                # What went out cannot be taken back, and a retry would send it twice: a person decides.
                raise SendError(
                    SendFailure.UNKNOWN, f"{number} of {len(parts)} parts were sent, then: {error.detail}"
                ) from None
        return sent

    async def fetch(self, config: TelegramConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """The bytes of a file that came with a message. Raises FetchError."""
        if file.size is not None and file.size > _FETCH_LIMIT:
            raise provider.FetchError(f"Telegram gives bots files of up to {_FETCH_LIMIT // 1_000_000} MB", retry=False)
        url = await _file_url(config, file, http)
        return await provider.download(http, url, limit=limit)

    async def check(self, config: TelegramConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        try:
            await _ask(config, http, "getMe", {}, idempotent=True)
        except _Refused as refused:
            raise _failure(refused) from None


async def _file_url(config: TelegramConfig, file: RemoteFile, http: httpx.AsyncClient) -> str:
    """Telegram names a path that is good for an hour; the URL holds the bot token and is never kept."""
    base, token = config.api_base.rstrip("/"), config.bot_token.get_secret_value()
    try:
        response = await http.post(
            f"{base}/bot{token}/getFile", json={"file_id": file.ref.get("file_id")}, follow_redirects=False
        )
        answer = orjson.loads(response.content)
        path = answer["result"]["file_path"]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise provider.FetchError(f"Telegram could not be reached ({type(error).__name__})", retry=True) from None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        retry = response.status_code >= 500 or response.status_code == 429
        raise provider.FetchError(
            f"Telegram does not give the file (status {response.status_code})", retry=retry
        ) from None
    if not isinstance(path, str) or not re.fullmatch(r"[\w./-]{1,300}", path) or ".." in path:
        raise provider.FetchError("Telegram gave an odd file path", retry=False)
    return f"{base}/file/bot{token}/{path}"


def _keyboard(outgoing: Outgoing) -> dict[str, Any]:
    return {"inline_keyboard": [[{"text": item.title, "callback_data": item.payload} for item in outgoing.choices]]}


async def _send_part(
    config: TelegramConfig, http: httpx.AsyncClient, target: dict[str, Any], part: Part, *, patient: bool
) -> Sent:
    """`patient` waits a few seconds on a 429. A group that became a supergroup is followed once, into `target`."""
    waited = moved = False
    while True:
        try:
            return await _call(config, http, target, part)
        except _Refused as refused:
            wish, new_chat = refused.retry_after, refused.parameters.get("migrate_to_chat_id")
            if isinstance(new_chat, int) and not moved:
                target["chat_id"], moved = new_chat, True
            elif patient and not waited and wish is not None and wish <= _PATIENCE_S:
                waited = True
                await asyncio.sleep(wish)
            else:
                raise _failure(refused) from None


async def _call(config: TelegramConfig, http: httpx.AsyncClient, target: dict[str, Any], part: Part) -> Sent:
    """Raises _Refused or SendError."""
    named = {"text": part.text} if part.file is None else {"caption": part.text} if part.text else {}
    payload, file = {**target, **named}, part.file
    upload = {part.field: (file.name, file.data, file.media_type)} if file is not None else None
    result = await _ask(config, http, part.method, payload, idempotent=False, upload=upload)
    return Sent(provider_message_id=_message_key(result, payload))


async def _ask(
    config: TelegramConfig,
    http: httpx.AsyncClient,
    method: str,
    payload: dict[str, Any],
    *,
    idempotent: bool,
    upload: dict[str, tuple[str, bytes, str]] | None = None,
) -> Any:
    """The result. Raises _Refused or SendError; neither names the URL, because it holds the bot token."""
    url = f"{config.api_base.rstrip('/')}/bot{config.bot_token.get_secret_value()}/{method}"
    if upload is None:
        given: dict[str, Any] = {"content": orjson.dumps(payload), "headers": {"content-type": "application/json"}}
    else:
        given = {"data": {name: str(value) for name, value in payload.items()}, "files": upload}
    try:
        response = await http.post(url, follow_redirects=False, **given)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        provider.fail_on(error, idempotent=idempotent)
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if response.is_success and answer.get("ok") is True:
        return answer.get("result")
    if response.is_success and answer.get("ok") is not False:
        unclear = SendFailure.RETRY if idempotent else SendFailure.UNKNOWN
        raise SendError(unclear, f"an answer that is not Telegram's (status {response.status_code})")
    raise _refused(config, response, answer)


def _refused(config: TelegramConfig, response: httpx.Response, answer: dict[str, Any]) -> _Refused:
    code = answer.get("error_code")
    parameters = answer.get("parameters")
    parameters = dict(parameters) if isinstance(parameters, dict) else {}
    wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    if wish is not None:
        parameters.setdefault("retry_after", wish)
    said = without(str(answer.get("description") or "no description"), config.bot_token)
    return _Refused(code if isinstance(code, int) else response.status_code, said[:300], parameters)


def _message_key(result: Any, payload: dict[str, Any]) -> str | None:
    """As the updates name it: by its chat, and in a business chat by the connection too."""
    if not isinstance(result, dict) or not isinstance(result.get("message_id"), int):
        return None
    chat, connection = result.get("chat"), payload.get("business_connection_id")
    real = chat.get("id") if isinstance(chat, dict) else None
    name = f"{real if isinstance(real, int) else payload['chat_id']}:{result['message_id']}"
    return f"{connection}:{name}" if connection else name


def _failure(refused: _Refused) -> SendError:
    code, said = refused.code, refused.description.lower()
    detail = f"Telegram answered {code}: {refused.description}"
    if code in (401, 404):
        return SendError(SendFailure.REAUTH, detail)
    if code == 403 or (code == 400 and any(sign in said for sign in _NOT_THERE)):
        blocked = any(sign in said for sign in ("blocked", "kicked"))
        reason = RefusalReason.BLOCKED if blocked else RefusalReason.UNREACHABLE
        return SendError(SendFailure.RECIPIENT, detail, refusal=reason)
    if code in (409, 429) or code >= 500:
        return SendError(SendFailure.RETRY, detail, retry_after_s=refused.retry_after)
    if 300 <= code < 400:
        return SendError(SendFailure.CONFIG, f"api_base answered {code}: redirects are not followed")
    return SendError(SendFailure.PERMANENT, detail)
