"""Slack as a customer channel: events in, answers into the thread out."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import httpx

from app.channels import fetching, meta, meta_graph, slack_parse, slack_profile, slack_text
from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    Outgoing,
    Parsed,
    Profile,
    RemoteFile,
    Reply,
    Sender,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.provider import FetchError
from app.channels.slack_api import Slack
from app.channels.slack_config import SlackConfig
from app.channels.split import split_text
from app.channels.text import JSONDecodeError, key, loads
from app.errors import NotGenuine

TOLERANCE_S = 300
# Slack cuts at 40,000; what is longer than this it shows in pieces of its own choice.
_TEXT_LIMIT = 4000
_CHALLENGE_LIMIT = 1000
_FILE_LIMIT = 100_000_000


class SlackAdapter:
    """No idempotency key: our message id travels as metadata and comes back with the event of our own message."""

    type: ClassVar[str] = "slack"
    config_model: ClassVar[ConfigModel] = SlackConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=_TEXT_LIMIT,
        idempotent_send=False,
        files=True,
        file_limits=dict.fromkeys(("image", "audio", "video", "file"), _FILE_LIMIT),
        edits=True,
        deletes=True,
        reactions=True,
    )

    def verify(self, config: SlackConfig, call: Call) -> None:
        timestamp, given = (call.headers.get(f"x-slack-{name}") for name in ("request-timestamp", "signature"))
        secret = config.signing_secret.get_secret_value()
        if not timestamp or not given or not secret:
            raise NotGenuine("x-slack-request-timestamp and x-slack-signature are needed")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            raise NotGenuine("x-slack-request-timestamp is not a Unix time")
        if abs(call.received_at.timestamp() - int(timestamp)) > TOLERANCE_S:
            raise NotGenuine("x-slack-request-timestamp is more than five minutes away")
        signed = b"v0:" + timestamp.encode() + b":" + call.body
        expected = "v0=" + hmac.digest(secret.encode("utf-8", "backslashreplace"), signed, "sha256").hex()
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "backslashreplace")):
            raise NotGenuine("x-slack-signature does not match")

    def parse(self, config: SlackConfig, call: Call) -> Parsed:
        return slack_parse.parse(_body(call))

    def answer(self, config: SlackConfig, call: Call, parsed: Parsed) -> Reply:
        """The challenge, where Slack tests the address; else nothing, which it takes for "heard"."""
        if parsed.ignored == ("url_verification",):
            challenge = meta.obj(loads(call.body)).get("challenge")
            if isinstance(challenge, str) and len(challenge) <= _CHALLENGE_LIMIT:
                return Reply(challenge.encode("utf-8", "replace"))
        return Reply(b"")

    async def send(self, config: SlackConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """Files first, as one message, then the text, in several where it is long; the last text's id counts."""
        channel, thread = key(outgoing.address.get("channel")), key(outgoing.address.get("thread_ts"))
        if channel is None:
            raise SendError(SendFailure.RECIPIENT, "the address has no channel")
        parts = split_text(outgoing.text, _TEXT_LIMIT, slack_text.width)
        _check(outgoing, parts)
        slack = _slack(config)
        uploaded = [{"id": await slack.upload(http, file), "title": file.name} for file in outgoing.files]
        threaded = {"thread_ts": thread} if thread else {}
        steps: list[Callable[[], Awaitable[str | None]]] = []
        if uploaded:
            steps.append(partial(_share, slack, http, {"files": uploaded, "channel_id": channel, **threaded}))
        for number, text in enumerate(parts, 1):
            payload = {"channel": channel, **threaded, "text": slack_text.escaped(text), **_PLAIN}
            if number == len(parts):
                if outgoing.choices:
                    payload["blocks"] = slack_text.asking(outgoing, text)
                payload["metadata"] = {
                    "event_type": slack_parse.METADATA,
                    "event_payload": {"message_id": str(outgoing.message_id)},
                }
            steps.append(partial(_post, slack, http, channel, payload))
        return await meta_graph.in_order(steps)

    async def fetch(self, config: SlackConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        slack = _slack(config)
        url = file.ref.get("url") or await _file_url(slack, http, key(file.ref.get("file_id")))
        if not isinstance(url, str):
            raise FetchError("the file has no address", retry=False)
        source = fetching.Source(slack.base, ("slack.com",), slack.headers(), ("slack-files.com",))
        # Whom Slack does not know it shows a page to log in.
        return await fetching.download(http, source, url, limit=limit, page=file.media_type == "text/html")

    async def profile(self, config: SlackConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError."""
        user = key(sender.address.get("user"))
        if user is None:
            raise SendError(SendFailure.RECIPIENT, "nobody whom Slack could name")
        answer = await _slack(config).ask(http, "users.info", {"user": user, "include_locale": "true"})
        return slack_profile.read(meta.obj(answer.get("user")))

    async def check(self, config: SlackConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await _slack(config).ask(http, "auth.test", {})


# An agent's text as it was written, and no preview: to make one, Slack would open the customer's private link.
_PLAIN: Mapping[str, Any] = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _check(outgoing: Outgoing, parts: Sequence[str]) -> None:
    """Raises SendError for what Slack would not take."""
    can = SlackAdapter.capabilities
    if not parts and not outgoing.files:
        raise SendError(SendFailure.PERMANENT, "there is no text to send")
    if len(parts) > can.max_parts:
        raise SendError(SendFailure.PERMANENT, f"the text needs more than {can.max_parts} messages")
    for file in outgoing.files:
        if not 0 < len(file.data) <= _FILE_LIMIT:
            raise SendError(SendFailure.PERMANENT, f"{file.name!r} is empty or larger than 100 MB")


def _slack(config: SlackConfig) -> Slack:
    return Slack(config.api_base.rstrip("/"), config.bot_token)


def _body(call: Call) -> Mapping[str, Any]:
    """Events are JSON; buttons and commands come as forms. Raises Unparseable."""
    if call.body.lstrip()[:1] == b"{":
        return meta.read(call)
    try:
        form = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
        if "payload" not in form:
            if "command" in form:
                return {"type": "slash command"}
            raise Unparseable("neither JSON nor one of Slack's forms")
        body = loads(form["payload"])
    except (JSONDecodeError, ValueError) as error:
        raise Unparseable(f"not one of Slack's forms: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise Unparseable("the payload is not an object")
    return body


async def _post(slack: Slack, http: httpx.AsyncClient, channel: str, payload: Mapping[str, Any]) -> str:
    answer = await slack.post(http, "chat.postMessage", payload)
    ts = key(answer.get("ts"))
    if ts is None:
        raise SendError(SendFailure.UNKNOWN, "Slack's answer names no message")
    return f"{key(answer.get('channel')) or channel}:{ts}"


async def _share(slack: Slack, http: httpx.AsyncClient, payload: Mapping[str, Any]) -> None:
    """Show what is uploaded already. Slack posts it a moment later and gives no id."""
    await slack.post(http, "files.completeUploadExternal", payload)


async def _file_url(slack: Slack, http: httpx.AsyncClient, file_id: str | None) -> str | None:
    """In shared channels the event names the file only by its id. Raises FetchError."""
    if file_id is None:
        return None
    try:
        answer = await slack.ask(http, "files.info", {"file": file_id})
    except SendError as error:
        raise FetchError(error.detail, retry=error.failure in (SendFailure.RETRY, SendFailure.REAUTH)) from None
    file = meta.obj(answer.get("file"))
    return key(file.get("url_private_download")) or key(file.get("url_private"))
