"""Matters that an agent enters by hand: somebody stood at the counter, rang, or wrote a letter."""

from __future__ import annotations

from typing import ClassVar

import httpx

from app.channels.base import (
    Call,
    Capabilities,
    ConfigModel,
    Outgoing,
    Parsed,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.form_config import WalkInConfig
from app.errors import NotGenuine


class WalkInAdapter:
    type: ClassVar[str] = "walk_in"
    config_model: ClassVar[ConfigModel] = WalkInConfig
    capabilities: ClassVar[Capabilities] = Capabilities(text_limit=100_000, idempotent_send=True, answers=False)

    def verify(self, config: WalkInConfig, call: Call) -> None:
        raise NotGenuine("matters are entered by agents, at POST /api/v1/conversations")

    def parse(self, config: WalkInConfig, call: Call) -> Parsed:
        raise Unparseable("matters are entered by agents, at POST /api/v1/conversations")

    async def send(self, config: WalkInConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        raise SendError(SendFailure.CONFIG, "what was entered by hand is answered by another channel, or in person")
