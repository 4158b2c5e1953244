"""A house to send from."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.db import Database
from app.settings import Settings
from app.vault import Vault
from tests.delivery.house import House


@pytest.fixture
async def house(database: Database, settings: Settings, vault: Vault) -> AsyncIterator[House]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield House(database, settings, vault, http)
