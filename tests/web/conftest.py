"""The pages in a minimal application on the real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from app import problems
from app.db import Database
from app.settings import Settings
from app.vault import Vault
from app.web import pages
from tests.web import matter as matters
from tests.web.matter import Matter


@pytest.fixture
def app(database: Database, vault: Vault, settings: Settings) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    pages.mount(app)
    app.state.context = SimpleNamespace(database=database, vault=vault, settings=settings)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, as far as its Accept header goes."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


@pytest.fixture
async def matter(database: Database, vault: Vault) -> Matter:
    """Resolved, waiting for the customer's word."""
    made = await matters.make(database, vault)
    await made.resolve()
    return made
