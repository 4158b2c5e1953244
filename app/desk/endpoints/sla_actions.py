"""`/sla-actions`: what stages of clocks asked for and what became of it; and the secret that signs calls of webhooks."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from fastapi import Response
from sqlmodel import col, select

from app.db import database_now
from app.desk.auth import Admin, Supervisor
from app.desk.endpoints.shared import (
    ContextDep,
    Moment,
    Page,
    PagingDep,
    Shape,
    api_router,
    locked,
    page_of,
    record,
    save,
)
from app.edge import SessionDep
from app.errors import Conflict
from app.models import SlaAction
from app.models.words import ActionState, ClockMetric
from app.sla import actions
from app.wakeups import wake

router = api_router("SLA actions")


class ActionShape(Shape):
    """`error`: why it was skipped, or the newest failure. A `dead` one is not tried again by itself."""

    id: UUID
    conversation_id: UUID
    clock_id: UUID
    policy_id: UUID
    metric: ClockMetric
    kind: str
    stage: int
    level: int
    action: dict[str, Any]
    state: ActionState
    attempts: int
    due_at: Moment
    error: str | None
    done_at: Moment | None
    created_at: Moment


class Secret(Shape):
    secret: str


@router.get("/sla-actions")
async def list_actions(
    session: SessionDep,
    _: Supervisor,
    paging: PagingDep,
    state: ActionState | None = None,
    conversation_id: UUID | None = None,
) -> Page[ActionShape]:
    """Newest first."""
    statement = select(SlaAction)
    if state is not None:
        statement = statement.where(col(SlaAction.state) == state)
    if conversation_id is not None:
        statement = statement.where(col(SlaAction.conversation_id) == conversation_id)
    rows, cursor = await page_of(session, statement, col(SlaAction.id), paging, newest_first=True)
    return Page(items=[ActionShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/sla-actions/{action_id}/retry")
async def retry_action(action_id: UUID, session: SessionDep, principal: Admin) -> ActionShape:
    """A dead one is tried again, once; a call of a webhook keeps its `webhook-id`."""
    row = await locked(session, SlaAction, action_id, "SLA action")
    if row.state != ActionState.DEAD:
        raise Conflict(f"the action is {row.state}", state=row.state)
    row.state, row.done_at, row.lease_until = ActionState.PENDING, None, None
    row.due_at = database_now()
    await save(session, row)
    await record(session, principal, "sla_action.retried", id=row.id, conversation_id=row.conversation_id)
    await wake(session, actions.TOPIC)
    return ActionShape.model_validate(row)


@router.get("/webhook-secret")
async def webhook_secret(response: Response, context: ContextDep, _: Admin) -> Secret:
    """Receivers check `webhook-signature` (Standard Webhooks) with it. It changes with ROUNDTRIP_SECRET_KEY alone."""
    response.headers["Cache-Control"] = "no-store"
    return Secret(secret="whsec_" + base64.b64encode(context.vault.webhook_key).decode())
