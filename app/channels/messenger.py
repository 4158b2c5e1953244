"""Messenger: messages to a Facebook page in, answers of the page out."""

from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from app.channels import meta, meta_graph, meta_messaging, meta_profile, meta_send
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
    Sent,
)
from app.channels.messenger_config import MessengerConfig
from app.channels.meta_graph import Graph
from app.channels.meta_messaging import Account
from app.channels.meta_send import CODES, Way
from app.channels.split import utf16

_FILE_LIMIT = 25_000_000


class MessengerAdapter:
    """No idempotency key, but our own id comes back in the echo of what we sent, which settles what got lost."""

    type: ClassVar[str] = "messenger"
    config_model: ClassVar[ConfigModel] = MessengerConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=2000,
        idempotent_send=False,
        files=True,
        file_limits=dict.fromkeys(("image", "audio", "video", "file"), _FILE_LIMIT),
        edits=True,
        deletes=True,
        reactions=True,
        delivered=True,
        read=True,
        window_h=24,
    )

    def capabilities_of(self, config: Mapping[str, Any]) -> Capabilities:
        return meta_send.with_tag(self.capabilities, config)

    def verify(self, config: MessengerConfig, call: Call) -> None:
        meta.verify(config.app_secret, call)

    def handshake(self, config: MessengerConfig, call: Call) -> Reply:
        return meta.handshake(config.verify_token, call)

    def parse(self, config: MessengerConfig, call: Call) -> Parsed:
        return meta_messaging.parse(meta.read(call), Account("messenger", "page", config.account_id))

    async def send(self, config: MessengerConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        way = Way(_graph(config), config.account_id, self.capabilities, utf16, True, config.human_agent)
        return await meta_send.send(way, outgoing, http)

    async def fetch(self, config: MessengerConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        return await _graph(config).download(http, str(file.ref.get("url")), limit=limit, signed=False)

    async def profile(self, config: MessengerConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError."""
        return await meta_profile.profile(_graph(config), http, sender, "first_name,last_name,profile_pic")

    async def check(self, config: MessengerConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await meta_graph.check(_graph(config), http, config.account_id)


def _graph(config: MessengerConfig) -> Graph:
    return meta_graph.graph(config.api_base, config.api_version, config.access_token, CODES)
