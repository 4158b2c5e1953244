"""A house with its callers."""

from collections.abc import AsyncIterator

import pytest

from app.db import Database
from app.models.words import Role
from app.settings import Settings
from app.vault import Vault
from tests.desk.house import Caller, House, build_app, build_client, build_context


@pytest.fixture
async def house(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    inner = Database(settings)
    context = build_context(database, vault, settings, inner=inner)
    async with build_client(build_app(context)) as http:
        yield House(context, http)
    await context.http.aclose()
    await inner.close()


@pytest.fixture
async def admin(house: House) -> Caller:
    return await house.caller()


@pytest.fixture
async def supervisor(house: House) -> Caller:
    return await house.agent(role=Role.SUPERVISOR)
