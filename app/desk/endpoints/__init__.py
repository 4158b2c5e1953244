"""`/api/v1`: the HTTP surface of the desk and of other systems."""

from typing import Any

from fastapi import APIRouter

from app.desk.endpoints import (
    actions,
    agents,
    announcement_policies,
    announcement_texts,
    attachments,
    boosts,
    by_hand,
    calendars,
    calling,
    canned,
    channels,
    closing_policies,
    complaint_register,
    complaints,
    consents,
    contacts,
    conversations,
    follow_ups,
    grading,
    journal,
    keys,
    mail,
    mailboxes,
    policies,
    queue_people,
    queues,
    receipt_templates,
    recovery_tasks,
    reports,
    rules,
    sending,
    sla_actions,
    taking_part,
    teams,
    templates,
    trapped,
    waiting,
    walk_ins,
    webhook_endpoints,
)

_ROOMS = (
    conversations,
    walk_ins,
    mail,
    actions,
    by_hand,
    calling,
    taking_part,
    sending,
    contacts,
    consents,
    channels,
    trapped,
    templates,
    queues,
    queue_people,
    waiting,
    teams,
    agents,
    keys,
    mailboxes,
    calendars,
    policies,
    closing_policies,
    announcement_policies,
    announcement_texts,
    receipt_templates,
    sla_actions,
    reports,
    complaint_register,
    complaints,
    recovery_tasks,
    follow_ups,
    rules,
    boosts,
    grading,
    canned,
    attachments,
    journal,
    webhook_endpoints,
)


_PROBLEM: dict[str, Any] = {
    "description": "Refused: `code` is stable, `field` names what is wrong where one thing is",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "code", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "field": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                        },
                    },
                },
            }
        }
    },
}


def router() -> APIRouter:
    """Everything below `/api/v1`."""
    whole = APIRouter(prefix="/api/v1", responses={422: _PROBLEM, "default": _PROBLEM})
    for room in _ROOMS:
        whole.include_router(room.router)
    return whole
