"""A house to send from."""

import pytest

from app.db import Database
from app.settings import Settings
from app.vault import Vault
from tests.delivery.house import House


@pytest.fixture
def house(database: Database, settings: Settings, vault: Vault) -> House:
    return House(database, settings, vault)
