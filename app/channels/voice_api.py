"""Twilio's REST side of a telephone line: calls are placed, credentials tried."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from app import clock
from app.channels import provider, sms_codes, voice_direct, voice_parse
from app.channels import voice_twiml as twiml
from app.channels.base import Outgoing, SendError, SendFailure, Sent
from app.channels.hiding import without
from app.channels.text import clean, key
from app.channels.voice_config import VoiceConfig

_CONFIG = (10004, 13223, 13224, 13225, 13227, 21203, 21205, 21210, 21213, 21215, 21219, 32205)
_RECIPIENT = (21211, 21214, 21216, 21217, 21401, 13221)


async def place(config: VoiceConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
    """Ring the agent; who picks up is connected to the customer. Raises SendError.

    Twilio knows no key that would make a second request harmless: no answer means that it may ring all the same.
    """
    wanted = outgoing.call or {}
    agent, customer, url = key(wanted.get("agent")), key(wanted.get("to")), key(wanted.get("webhook"))
    if agent is None or customer is None or url is None:
        raise SendError(SendFailure.PERMANENT, "who is to be rung is not known")
    ours = str(outgoing.message_id)
    told = twiml.with_query(url, {voice_parse.STEP: voice_parse.STATUS, voice_parse.OURS: ours})
    form: dict[str, str | list[str]] = {
        "To": agent,
        "From": config.number or "",
        "Twiml": voice_direct.call_back(config, url=url, ours=ours, customer=customer),
        "Timeout": str(config.ring_timeout_s),
        "StatusCallback": told,
        "StatusCallbackMethod": "POST",
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
    }
    answer = await _call(config, http, "POST", f"{_account(config)}/Calls.json", form)
    sid = key(answer.get("sid"))
    if sid is None:
        raise SendError(SendFailure.UNKNOWN, "Twilio's answer names no call")
    return Sent(provider_message_id=sid)


async def check(config: VoiceConfig, http: httpx.AsyncClient) -> None:
    """Raises SendError."""
    answer = await _call(config, http, "GET", f"{_account(config)}.json", None)
    status = answer.get("status", "active")
    if status != "active":
        raise SendError(SendFailure.CONFIG, f"the account at Twilio is {clean(str(status), 50)}")


def login(config: VoiceConfig) -> tuple[str, str]:
    token = config.auth_token.get_secret_value() if config.auth_token else ""
    return config.account_sid or "", token


def _account(config: VoiceConfig) -> str:
    return f"{config.api_base.rstrip('/')}/2010-04-01/Accounts/{quote(config.account_sid or '', safe='')}"


async def _call(
    config: VoiceConfig, http: httpx.AsyncClient, method: str, url: str, form: Mapping[str, str | list[str]] | None
) -> dict[str, Any]:
    try:
        response = await http.request(method, url, data=form, auth=login(config), follow_redirects=False)
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


def _refusal(config: VoiceConfig, response: httpx.Response, answer: Mapping[str, Any]) -> SendError:
    given, status = answer.get("code"), response.status_code
    code = given if isinstance(given, int) and not isinstance(given, bool) else 0
    said = answer.get("message")
    secrets = (config.auth_token,) if config.auth_token else ()
    words = sms_codes.words(code, without(said, *secrets) if isinstance(said, str) else None)
    failure = _known(code) or _by_status(status)
    wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    return SendError(
        failure,
        f"Twilio answered {status}{f', error {words}' if words else ''}",
        retry_after_s=wish if failure is SendFailure.RETRY else None,
    )


def _known(code: int) -> SendFailure | None:
    if code in _CONFIG:
        return SendFailure.CONFIG
    if code in _RECIPIENT:
        return SendFailure.RECIPIENT
    return sms_codes.known(code)


def _by_status(status: int) -> SendFailure:
    """An error on Twilio's side may have come after the call was placed: it is not placed again."""
    if status in (408, 429, 503):
        return SendFailure.RETRY
    if status >= 500:
        return SendFailure.UNKNOWN
    if status == 401:
        return SendFailure.REAUTH
    return SendFailure.CONFIG if 300 <= status < 400 or status in (403, 404) else SendFailure.PERMANENT
