"""A world to route in."""

import pytest

from app.db import Database
from app.settings import Settings
from tests.routing.world import World


@pytest.fixture
async def world(database: Database, settings: Settings) -> World:
    world = World(database, settings)
    await world.awake(since_s=86_400)
    return world
