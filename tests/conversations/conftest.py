"""A matter of one customer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.conversations.confirming import Confirmer
from app.db import Database
from app.settings import Settings
from app.vault import Vault
from tests.desk.conftest import admin, house, supervisor
from tests.web.matter import Matter, make

__all__ = ["admin", "house", "supervisor"]


@pytest.fixture
async def matter(database: Database, vault: Vault) -> Matter:
    return await make(database, vault)


@pytest.fixture
def confirmer(database: Database) -> Confirmer:
    return Confirmer(database, link=lambda cycle_id: f"http://test/f/{cycle_id}")


@pytest.fixture
async def others(settings: Settings) -> AsyncIterator[list[Database]]:
    """Three more processes' connections."""
    found = [Database(settings) for _ in range(3)]
    yield found
    for each in found:
        await each.close()
