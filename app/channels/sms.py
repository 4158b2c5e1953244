"""SMS by Twilio, and what else its Messaging carries: WhatsApp and RCS senders."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
import orjson

from app import clock
from app.channels import fetching, meta_graph, provider, sms_codes, sms_parse, twilio_signature
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    OutboundFile,
    Outgoing,
    Parsed,
    RemoteFile,
    Reply,
    SendError,
    SendFailure,
    Sent,
    Template,
    Unparseable,
)
from app.channels.hiding import without
from app.channels.provider import FetchError
from app.channels.sms_config import SmsConfig
from app.channels.split import split_text, utf16
from app.channels.text import JSONDecodeError, clean, key, loads

_TEXT_LIMIT = 1600
_MEDIA_COUNT, _MEDIA_BYTES = 10, 5_000_000
_NO_ANSWER = b"<Response/>"


class SmsAdapter:
    """No idempotency key: our message id travels in the StatusCallback and settles what got lost."""

    type: ClassVar[str] = "sms"
    config_model: ClassVar[ConfigModel] = SmsConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=_TEXT_LIMIT,
        idempotent_send=False,
        files=True,
        max_parts=10,
        file_limits=dict.fromkeys(("image", "audio", "video", "file"), _MEDIA_BYTES),
        file_types={"file": frozenset({"application/pdf", "text/vcard", "text/x-vcard", "text/calendar"})},
        max_files=_MEDIA_COUNT,
        delivered=True,
        read=True,
    )

    def capabilities_of(self, config: Mapping[str, Any]) -> Capabilities:
        """A WhatsApp sender has WhatsApp's window, and Twilio's content templates outside it."""
        if sms_parse.prefix(str(config.get("number") or "")) != "whatsapp":
            return self.capabilities
        return replace(self.capabilities, templates=True, window_h=24)

    def verify(self, config: SmsConfig, call: Call) -> None:
        twilio_signature.verify(config.auth_token, call)

    def parse(self, config: SmsConfig, call: Call) -> Parsed:
        return sms_parse.parse(_form(call), call.query)

    def answer(self, config: SmsConfig, call: Call, parsed: Parsed) -> Reply:
        """Anything but TwiML would be an error at Twilio, or a message to the customer."""
        return Reply(_NO_ANSWER, "text/xml")

    async def send(self, config: SmsConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """Texts of more than 1600 characters go out as several messages; `provider_message_id` is that of the last.

        Files go as links, from which Twilio fetches them.
        """
        to = key(outgoing.address.get("to")) or key(outgoing.address.get("user"))
        if to is None:
            raise SendError(SendFailure.RECIPIENT, "the address has no number")
        links = _links(outgoing.files)
        if outgoing.template is not None:
            form = {**_ways(config, to, key(outgoing.address.get("from"))), **_content(outgoing.template)}
            form |= _callback(config, outgoing, str(outgoing.message_id))
            return Sent(provider_message_id=await _post(config, http, form))
        parts = split_text(outgoing.text, _TEXT_LIMIT, utf16)
        if not parts and not links:
            raise SendError(SendFailure.PERMANENT, "there is no text to send")
        if len(parts) > self.capabilities.max_parts:
            raise SendError(SendFailure.PERMANENT, f"the text needs more than {self.capabilities.max_parts} messages")
        ways = _ways(config, to, key(outgoing.address.get("from")))
        steps = []
        messages = _messages(parts, links, at_once=1 if sms_parse.prefix(ways["To"]) else _MEDIA_COUNT)
        for number, message in enumerate(messages, 1):
            ours = str(outgoing.message_id) if number == len(messages) else f"{outgoing.message_id}:{number}"
            steps.append(partial(_post, config, http, {**ways, **message, **_callback(config, outgoing, ours)}))
        return await meta_graph.in_order(steps)

    async def fetch(self, config: SmsConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError. Twilio passes us on to a signed address, which must not see our credentials."""
        url = file.ref.get("url")
        if not isinstance(url, str):
            raise FetchError("the file has no address", retry=False)
        source = fetching.Source(
            config.api_base,
            ("twilio.com",),
            {"authorization": "Basic " + b64encode(":".join(_login(config)).encode()).decode()},
            ("twiliocdn.com", "amazonaws.com"),
        )
        return await fetching.download(http, source, url, limit=limit)

    async def check(self, config: SmsConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        answer = await _call(config, http, "GET", f"{_account(config)}.json", None)
        status = answer.get("status", "active")
        if status != "active":
            raise SendError(SendFailure.CONFIG, f"the account at Twilio is {clean(str(status), 50)}")


def _form(call: Call) -> Mapping[str, str]:
    """The first value of each field; JSON objects are read as well. Raises Unparseable."""
    try:
        if call.body.lstrip()[:1] == b"{":
            body = loads(call.body)
            return {
                name: value if isinstance(value, str) else str(value)
                for name, value in body.items()
                if value is not None
            }
        pairs = twilio_signature.fields(call.body)
    except (JSONDecodeError, ValueError) as error:
        raise Unparseable(f"no form: {type(error).__name__}") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        form.setdefault(name, value)
    if not form:
        raise Unparseable("the form is empty")
    return form


def _links(files: Sequence[OutboundFile]) -> list[str]:
    """Where Twilio fetches them. Raises SendError."""
    if len(files) > _MEDIA_COUNT or sum(len(file.data) for file in files) > _MEDIA_BYTES:
        limit = f"{_MEDIA_COUNT} files of {_MEDIA_BYTES // 1_000_000} MB together"
        raise SendError(SendFailure.PERMANENT, f"a message carries at most {limit}")
    links = [file.url for file in files if file.url is not None]
    if len(links) < len(files):
        raise SendError(SendFailure.PERMANENT, "there is no public address for the files")
    return links


def _messages(parts: Sequence[str], links: Sequence[str], *, at_once: int) -> list[dict[str, Any]]:
    """The first text goes with the first files; WhatsApp and RCS take one file in a message."""
    first: dict[str, Any] = {"Body": parts[0]} if parts else {}
    if links:
        first["MediaUrl"] = list(links[:at_once])
    texts = [{"Body": part} for part in parts[1:]]
    return [first, *texts, *({"MediaUrl": [link]} for link in links[at_once:])]


def _content(template: Template) -> dict[str, str]:
    """Twilio names a template by its ContentSid, and its parameters by their numbers."""
    numbered = {str(number): value for number, value in enumerate(template.parameters, 1)}
    return {"ContentSid": template.name, **({"ContentVariables": orjson.dumps(numbered).decode()} if numbered else {})}


def _ways(config: SmsConfig, to: str, wrote_to: str | None) -> dict[str, str]:
    """Both ends have to be of one kind. Raises SendError."""
    prefix, own = sms_parse.prefix(to), sms_parse.prefix(config.number)
    if config.messaging_service_sid is not None:
        return {"To": to, "MessagingServiceSid": config.messaging_service_sid}
    if prefix == own:
        return {"To": to, "From": config.number}
    if prefix is None:
        return {"To": f"{own}:{to}", "From": config.number}
    if wrote_to is not None and sms_parse.prefix(wrote_to) == prefix:
        return {"To": to, "From": wrote_to}
    if prefix == "whatsapp" and own is None:
        return {"To": to, "From": f"whatsapp:{config.number}"}
    raise SendError(SendFailure.CONFIG, f"the channel has no sender for {prefix}")


def _callback(config: SmsConfig, outgoing: Outgoing, ours: str) -> dict[str, str]:
    url = outgoing.webhook if config.status_callback is None else config.status_callback
    if not url:
        return {}
    more = "&" if urlsplit(url).query else "?"
    return {"StatusCallback": f"{url}{more}{urlencode({sms_parse.OURS: ours})}"}


def _login(config: SmsConfig) -> tuple[str, str]:
    return config.account_sid, config.auth_token.get_secret_value()


def _account(config: SmsConfig) -> str:
    return f"{config.api_base.rstrip('/')}/2010-04-01/Accounts/{quote(config.account_sid, safe='')}"


async def _post(config: SmsConfig, http: httpx.AsyncClient, form: Mapping[str, Any]) -> str:
    answer = await _call(config, http, "POST", f"{_account(config)}/Messages.json", form)
    sid = key(answer.get("sid"))
    if sid is None:
        raise SendError(SendFailure.UNKNOWN, "Twilio's answer names no message")
    if answer.get("status") in ("failed", "undelivered", "canceled"):
        code = _number(answer.get("error_code"))
        said = answer.get("error_message")
        words = sms_codes.words(code, said if isinstance(said, str) else None)
        detail = f"Twilio took the message and failed: {words}"
        raise SendError(sms_codes.failure(code), detail, refusal=sms_codes.refusal(code))
    return sid


async def _call(
    config: SmsConfig, http: httpx.AsyncClient, method: str, url: str, form: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Raises SendError."""
    try:
        response = await http.request(method, url, data=form, auth=_login(config), follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        provider.fail_on(error, idempotent=form is None)
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        answer = None
    if response.is_success and isinstance(answer, dict):
        return answer
    if response.is_success:
        raise SendError(SendFailure.UNKNOWN, f"an answer that is not Twilio's (status {response.status_code})")
    raise _refusal(config, response, answer if isinstance(answer, dict) else {})


def _refusal(config: SmsConfig, response: httpx.Response, answer: Mapping[str, Any]) -> SendError:
    code, status = _number(answer.get("code")), response.status_code
    said = answer.get("message")
    words = sms_codes.words(code, without(said, config.auth_token) if isinstance(said, str) else None)
    failure = sms_codes.known(code) or provider.by_status(status)
    wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    return SendError(
        failure,
        f"Twilio answered {status}{f', error {words}' if words else ''}",
        retry_after_s=wish if failure is SendFailure.RETRY else None,
        refusal=sms_codes.refusal(code),
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
