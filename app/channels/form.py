"""An online form on the customer's own site or on our page: a plain HTML post that works without JavaScript."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlsplit

import httpx

from app.channels import form_read
from app.channels.base import Call, Capabilities, ConfigModel, Outgoing, Parsed, SendError, SendFailure, Sent
from app.channels.form_config import FormConfig
from app.channels.origins import is_listed
from app.errors import NotGenuine


class FormAdapter:
    """Nobody signs a form. Genuine is what does not come from a page of somebody else's site."""

    type: ClassVar[str] = "form"
    config_model: ClassVar[ConfigModel] = FormConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=100_000, idempotent_send=True, answers=False)

    def verify(self, config: FormConfig, call: Call) -> None:
        if not is_listed(config.allowed_origins, origin_of(call), own=call.url):
            raise NotGenuine("this site is not among the channel's allowed origins")

    def parse(self, config: FormConfig, call: Call) -> Parsed:
        """One message. What is wrong with the fields is an error: the visitor was told, and sent it again."""
        submission = form_read.read(config, call)
        if wrong := form_read.check(config, submission):
            return Parsed(errors=[f"{item.field}: {item.what}" for item in wrong])
        key = form_read.key_of(config, call, submission)
        return Parsed(messages=[form_read.message(config, submission, key=key)])

    async def send(self, config: FormConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        raise SendError(SendFailure.CONFIG, "a form carries no answers: the channel needs a reply_channel_id")


def origin_of(call: Call) -> str | None:
    """Where the page lies that sent it: browsers say so in Origin, or hide it and may still send a Referer."""
    origin = call.headers.get("origin")
    if origin is not None and origin != "null":
        return origin
    parts = urlsplit(call.headers.get("referer", ""))
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else origin
