"""The chat widget: messages come and go over its own socket, so there is no provider to call or to be called by."""

from typing import ClassVar

import httpx

from app.channels.base import Call, Capabilities, ConfigModel, Outgoing, Parsed, Sent, Unparseable
from app.channels.config import WebchatConfig
from app.errors import NotGenuine


class WebchatAdapter:
    type: ClassVar[str] = "webchat"
    config_model: ClassVar[ConfigModel] = WebchatConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=10_000, idempotent_send=True, live=True, files=True)

    def verify(self, config: WebchatConfig, call: Call) -> None:
        raise NotGenuine("a web chat takes its messages on /widget/live")

    def parse(self, config: WebchatConfig, call: Call) -> Parsed:
        raise Unparseable("a web chat takes its messages on /widget/live")

    async def send(self, config: WebchatConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """The event stream is the delivery: the widget gets the message when it has its socket open."""
        return Sent()
