"""The edge that providers call, and the API, on the real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.db import Database
from app.intake import webhooks
from app.settings import Settings
from app.vault import Vault
from tests.desk.house import House, build_app, build_client, build_context


@pytest.fixture
async def house(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    given = settings.model_copy(update={"public_url": "https://desk.test"})
    context = build_context(database, vault, given)
    app = build_app(context)
    app.include_router(webhooks.router)
    context.intake.start()
    async with build_client(app) as http:
        yield House(context, http)
    await context.intake.stop()
    await context.http.aclose()
