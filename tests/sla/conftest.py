"""Matters that take time."""

import pytest

from app.db import Database
from tests.sla.matters import Matters


@pytest.fixture
def matters(database: Database) -> Matters:
    return Matters(database)
