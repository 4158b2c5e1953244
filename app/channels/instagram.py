"""Instagram: direct messages to a professional account in, its answers out."""

from collections.abc import Mapping
from dataclasses import replace
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
    SendError,
    SendFailure,
    Sent,
)
from app.channels.instagram_config import InstagramConfig
from app.channels.meta_graph import Graph
from app.channels.meta_messaging import Account
from app.channels.meta_send import CODES, Way
from app.channels.split import utf8

_FILE_LIMIT = 25_000_000
_TYPES = {
    "image": frozenset({"image/jpeg", "image/png", "image/gif"}),
    "audio": frozenset({"audio/aac", "audio/mp4", "audio/m4a", "audio/x-m4a", "audio/wav", "audio/x-wav"}),
    "video": frozenset({"video/mp4", "video/ogg", "video/x-msvideo", "video/quicktime", "video/webm"}),
    "file": frozenset({"application/pdf"}),
}


class InstagramAdapter:
    """Neither an idempotency key nor an id of ours that comes back: a lost answer stays "maybe sent" until its echo."""

    type: ClassVar[str] = "instagram"
    config_model: ClassVar[ConfigModel] = InstagramConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        text_limit=1000,
        idempotent_send=False,
        files=True,
        text_unit="bytes",
        file_limits={**dict.fromkeys(("audio", "video", "file"), _FILE_LIMIT), "image": 8_000_000},
        file_types=_TYPES,
        edits=True,
        deletes=True,
        reactions=True,
        read=True,
        window_h=24,
    )

    def capabilities_of(self, config: Mapping[str, Any]) -> Capabilities:
        """Files go through the account's page."""
        can = meta_send.with_tag(self.capabilities, config)
        return can if config.get("page_id") else replace(can, files=False, file_limits={}, file_types={})

    def verify(self, config: InstagramConfig, call: Call) -> None:
        meta.verify(config.app_secret, call)

    def handshake(self, config: InstagramConfig, call: Call) -> Reply:
        return meta.handshake(config.verify_token, call)

    def parse(self, config: InstagramConfig, call: Call) -> Parsed:
        """Calls come by way of the page or of Instagram, and name the account by either's id."""
        aliases = frozenset({config.page_id}) if config.page_id else frozenset()
        account = Account("instagram", "instagram", config.account_id, aliases, strict=False)
        return meta_messaging.parse(meta.read(call), account)

    async def send(self, config: InstagramConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        if outgoing.files and config.page_id is None:
            raise SendError(SendFailure.PERMANENT, "files can only be sent through the account's page (page_id)")
        way = Way(
            _graph(config),
            config.page_id or config.account_id,
            self.capabilities,
            utf8,
            False,
            config.human_agent,
            "instagram",
            _TYPES,
        )
        return await meta_send.send(way, outgoing, http)

    async def fetch(self, config: InstagramConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """Raises FetchError."""
        return await _graph(config).download(http, str(file.ref.get("url")), limit=limit, signed=False)

    async def profile(self, config: InstagramConfig, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError."""
        return await meta_profile.profile(_graph(config), http, sender, "name,username,profile_pic")

    async def check(self, config: InstagramConfig, http: httpx.AsyncClient) -> None:
        """Raises SendError."""
        await meta_graph.check(_graph(config), http, config.page_id or config.account_id)


def _graph(config: InstagramConfig) -> Graph:
    return meta_graph.graph(config.api_base, config.api_version, config.access_token, CODES)
