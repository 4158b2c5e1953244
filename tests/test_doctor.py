"""What `roundtrip doctor` says of a channel's credentials."""

from __future__ import annotations

from typing import Any

import httpx

from app import doctor
from app.catalog import ChannelAccount
from app.channels.registry import ADAPTERS
from app.ids import new_id
from tests.support.meta import GraphServer

TOKEN = "EAAtoken"


def account(type: str, config: dict[str, Any]) -> ChannelAccount:
    adapter = ADAPTERS[type]
    return ChannelAccount(new_id(), type, type, None, adapter, adapter.config_model.model_validate(config))


async def test_credentials_are_tried_where_that_sends_nothing() -> None:
    async with GraphServer(TOKEN) as graph:
        given = {"app_secret": "s", "verify_token": "v", "phone_number_id": "111", "api_base": graph.base}
        async with httpx.AsyncClient() as http:
            assert await doctor._try(account("whatsapp", {**given, "access_token": TOKEN}), http) is None
            fault = await doctor._try(account("whatsapp", {**given, "access_token": "EAAother"}), http)
            assert fault is not None
            assert fault.startswith("reauth: ")
            assert "EAAother" not in fault
            assert await doctor._try(account("webchat", {}), http) is None
        assert graph.sent == []
