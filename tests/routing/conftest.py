"""A world to route in."""

import pytest

from app.db import Database
from app.settings import Settings
from tests.routing.world import World


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return World(database, settings)
