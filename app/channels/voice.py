"""The telephone: a number at Twilio that we answer, or another system that tells us of its calls."""

from base64 import b64encode
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

import httpx
import orjson

from app.channels import (
    fetching,
    provider,
    signatures,
    twilio_signature,
    voice_api,
    voice_direct,
    voice_generic,
    voice_parse,
)
from app.channels import voice_twiml as twiml
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    Outgoing,
    Parsed,
    RemoteFile,
    Reply,
    SendError,
    SendFailure,
    Sent,
    Situation,
    Unparseable,
)
from app.channels.provider import FetchError
from app.channels.voice_config import VoiceConfig
from app.errors import NotGenuine

_TWIML = "text/xml; charset=utf-8"
_JSON = "application/json"
_QUESTIONS = (voice_parse.WAIT, voice_parse.DIALLED, voice_parse.VOICEMAIL)
_NOT_WRITTEN = "nobody reads on a telephone line, and there is no SMS channel or mail address that would carry it"


class VoiceAdapter:
    """A call is one message, which grows. What is written to a caller goes another way (conversations/calling.py)."""

    type: ClassVar[str] = "voice"
    config_model: ClassVar[ConfigModel] = VoiceConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=1_600, idempotent_send=False, answers=False)

    def verify(self, config: VoiceConfig, call: Call) -> None:
        if config.provider == "generic":
            signatures.verify_webhook(config.keys, call.headers, call.body, at=call.received_at)
            return
        if config.auth_token is None:
            raise NotGenuine("the line has no auth_token")
        twilio_signature.verify(config.auth_token, call)

    def parse(self, config: VoiceConfig, call: Call) -> Parsed:
        if config.provider == "generic":
            return voice_generic.parse(config, call)
        return voice_parse.parse(form_of(call), call.query, country=config.home, detects=config.machine_detection)

    def asks(self, config: VoiceConfig, call: Call) -> str | None:
        """Twilio waits for TwiML on a new call, while one waits, and when a part of it has ended; others read our answer
        to whatever they tell."""
        if config.provider == "generic":
            return voice_generic.call_of(call)
        form = form_of(call)
        step = call.query.get(voice_parse.STEP, "")
        if step in _QUESTIONS:
            return None if call.query.get(voice_parse.OURS) else voice_parse.sid_of(form, call.query)
        told = form.get("RecordingStatus") or form.get("TranscriptionSid") or form.get("CallbackSource")
        live = form.get("CallStatus", "").lower() in ("ringing", "in-progress")
        if step or told or not live or voice_parse.is_outbound(form, call.query) or form.get("ParentCallSid"):
            return None
        return voice_parse.sid_of(form, call.query)

    def is_question(self, config: VoiceConfig, call: Call) -> bool:
        return config.provider == "twilio" and call.query.get(voice_parse.STEP) == voice_parse.WAIT

    def direct(self, config: VoiceConfig, call: Call, situation: Situation | None) -> Reply:
        if config.provider == "generic":
            shown = {"status": "stored", "call": voice_direct.as_json(config, situation)}
            return Reply(orjson.dumps(shown), _JSON)
        return Reply(voice_direct.answer(config, call, form_of(call), situation), _TWIML)

    def answer(self, config: VoiceConfig, call: Call, parsed: Parsed) -> Reply:
        """To what asks nothing. Anything but TwiML would be an error at Twilio."""
        if config.provider == "generic":
            return Reply(b'{"status":"stored"}', _JSON)
        over = (twiml.verb("Hangup"),) if call.query.get(voice_parse.STEP) == voice_parse.DIALLED else ()
        return Reply(twiml.response(*over), _TWIML)

    async def send(self, config: VoiceConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """Only calls are placed. Raises SendError."""
        if outgoing.kind != "call":
            raise SendError(SendFailure.RECIPIENT, _NOT_WRITTEN)
        if config.provider == "generic":
            return await voice_generic.ask(config, outgoing, http)
        return await voice_api.place(config, outgoing, http)

    async def fetch(self, config: VoiceConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """A recording. Raises FetchError. Right after the call it may not be there yet."""
        url = file.ref.get("url")
        if not isinstance(url, str):
            raise FetchError("the recording has no address", retry=False)
        try:
            if config.provider == "generic":
                return await _theirs(config, url, http, limit=limit)
            source = fetching.Source(
                config.api_base, ("twilio.com",), _basic(*voice_api.login(config)), ("twiliocdn.com", "amazonaws.com")
            )
            return await fetching.download(http, source, _mp3(url), limit=limit, page=False)
        except FetchError as error:
            missing = "answered 404" in error.detail
            raise FetchError(error.detail, retry=error.retry or missing) from None

    async def check(self, config: VoiceConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError. Another system's secret cannot be tried without telling it something."""
        if config.provider == "twilio":
            await voice_api.check(config, http)


def form_of(call: Call) -> Mapping[str, str]:
    """The first value of each field. Raises Unparseable."""
    try:
        pairs = twilio_signature.fields(call.body)
    except ValueError as error:
        raise Unparseable(f"no form: {type(error).__name__}") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        form.setdefault(name, value)
    if not form:
        raise Unparseable("the form is empty")
    return form


def _mp3(url: str) -> str:
    """Twilio names recordings without an ending, sometimes by http, and serves both endings by https."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise FetchError("the recording's address cannot be read", retry=False) from None
    if parts.scheme == "http" and (parts.hostname or "").endswith(".twilio.com"):
        url = "https" + url[len("http") :]
    return url if parts.path.endswith((".mp3", ".wav")) or parts.query else f"{url}.mp3"


def _basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


async def _theirs(config: VoiceConfig, url: str, http: httpx.AsyncClient, *, limit: int) -> bytes:
    """Hosts that the operator names may well lie in a network of their own; `http` leads into none by an event's word."""
    if not config.recording_hosts:
        return await provider.download(http, url, limit=limit)
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if host not in config.recording_hosts:
        raise FetchError("the recording lies at a host that recording_hosts does not name", retry=False)
    given = config.recording_login.get_secret_value().partition(":") if config.recording_login else None
    source = fetching.Source(url, (), _basic(given[0], given[2]) if given else {})
    return await fetching.download(http, source, url, limit=limit)
