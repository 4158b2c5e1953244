"""`/api/v1`: the HTTP surface of the desk and of other systems."""

from fastapi import APIRouter

from app.desk.endpoints import (
    actions,
    agents,
    attachments,
    canned,
    channels,
    contacts,
    conversations,
    journal,
    keys,
    policies,
    queues,
    rules,
)

_ROOMS = (
    conversations,
    actions,
    contacts,
    channels,
    queues,
    agents,
    keys,
    policies,
    rules,
    canned,
    attachments,
    journal,
)


def router() -> APIRouter:
    """Everything below `/api/v1`."""
    whole = APIRouter(prefix="/api/v1")
    for room in _ROOMS:
        whole.include_router(room.router)
    return whole
