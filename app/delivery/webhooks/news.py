"""Supervisors and administrators hear at the desk when an endpoint goes down, is switched off, or answers again."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.events import log as events
from app.models.words import SENIORS

_SENIORS = text("SELECT id FROM agent WHERE active AND role = ANY(CAST(:roles AS text[])) ORDER BY id")
_ENDPOINTS = text("SELECT id, url, description FROM webhook_endpoint WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id")
_logger = log.get("webhooks")


async def tell(session: AsyncSession, ids: Collection[UUID], *, state: str, error: str | None = None) -> None:
    """`state` is `down`, `off` or `ok`. Of the address only the host is told: its query may hold a secret."""
    agents = (await session.execute(_SENIORS, {"roles": sorted(SENIORS)})).scalars().all()
    for row in await session.execute(_ENDPOINTS, {"ids": list(ids)}):
        host = httpx.URL(row.url).host
        speak = _logger.info if state == "ok" else _logger.warning
        speak("webhook endpoint", endpoint_id=row.id, host=host, state=state, error=error)
        shape = {"id": str(row.id), "description": row.description, "host": host, "state": state, "error": error}
        if agents:
            payload = {"endpoint": shape}
            await events.append_for_agents(session, None, "webhook_endpoint.updated", payload, agents=agents)
