"""First importable version."""

from typing import ClassVar

import httpx

from app.channels.base import Call, Capabilities, ConfigModel, Outgoing, Parsed, Sent
from app.channels.config import MailConfig


class MailAdapter:
    type: ClassVar[str] = "email"
    config_model: ClassVar[ConfigModel] = MailConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=1_000_000, idempotent_send=True, files=True)

    def verify(self, config: MailConfig, call: Call) -> None:
        raise NotImplementedError

    def parse(self, config: MailConfig, call: Call) -> Parsed:
        raise NotImplementedError

    async def send(self, config: MailConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        raise NotImplementedError
