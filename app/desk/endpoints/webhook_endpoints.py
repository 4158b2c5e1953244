"""`/webhook-endpoints`: other systems that are told what happens, how they are doing, and what they missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.delivery.webhooks import again, fanout, secrets
from app.desk.auth import Admin
from app.desk.endpoints.shared import (
    ContextDep,
    Page,
    Paging,
    PagingDep,
    all_of,
    api_router,
    change,
    cursor_of,
    locked,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.desk.endpoints.webhook_shapes import (
    DeliveryShape,
    EndpointChange,
    EndpointShape,
    EndpointWithSecret,
    NewEndpoint,
    Replay,
    Requeued,
    Rotation,
    Tested,
)
from app.edge import SessionDep
from app.errors import Conflict
from app.models import Channel, Queue, WebhookBreaker, WebhookDelivery, WebhookEndpoint
from app.models.webhooks import DeliveryState
from app.settings import Settings

router = api_router("webhook endpoints")
_WHAT = "webhook endpoint"
_STARTS_OVER = {"url", "active"}
_COUNTS = text(
    "SELECT endpoint_id, state, count(*) AS n, min(queued_at) AS oldest FROM webhook_delivery "
    "WHERE endpoint_id = ANY(CAST(:ids AS uuid[])) AND (state = 'waiting' OR state = 'dead' AND event_id > 0) "
    "GROUP BY endpoint_id, state"
)


async def _shapes(session: AsyncSession, settings: Settings, rows: Sequence[WebhookEndpoint]) -> list[EndpointShape]:
    ids = [row.id for row in rows]
    found = await session.exec(select(WebhookBreaker).where(col(WebhookBreaker.endpoint_id).in_(ids)))
    health = {one.endpoint_id: one for one in found}
    counts: dict[tuple[UUID, str], Any] = {
        (count.endpoint_id, count.state): count for count in await session.execute(_COUNTS, {"ids": ids})
    }
    return [
        _shape(
            row,
            health.get(row.id) or WebhookBreaker(endpoint_id=row.id),
            counts.get((row.id, DeliveryState.WAITING)),
            counts.get((row.id, DeliveryState.DEAD)),
            settings.webhook_breaker_after,
        )
        for row in rows
    ]


def _shape(row: WebhookEndpoint, health: WebhookBreaker, waiting: Any, dead: Any, after: int) -> EndpointShape:
    if not row.active:
        state = "off"
    elif health.failures >= after:
        state = "down"
    else:
        state = "failing" if health.failures else "ok"
    return EndpointShape(
        **row.model_dump(exclude={"secrets"}),
        state=state,
        failures=health.failures,
        failing_since=health.failing_since,
        next_try_at=health.not_before if row.active else None,
        last_error=health.last_error,
        last_error_at=health.last_error_at,
        waiting=waiting.n if waiting else 0,
        oldest=waiting.oldest if waiting else None,
        dead=dead.n if dead else 0,
    )


async def _shown(session: AsyncSession, context: ContextDep, response: Response, row: WebhookEndpoint) -> EndpointShape:
    tag(response, row)
    [shape] = await _shapes(session, context.settings, [row])
    return shape


async def _require_filters(session: AsyncSession, given: NewEndpoint | EndpointChange) -> None:
    await all_of(session, Channel, Channel.id, given.channel_ids or (), "channel_ids")
    await all_of(session, Queue, Queue.id, given.queue_ids or (), "queue_ids")


@router.post("/webhook-endpoints", status_code=201)
async def create_webhook_endpoint(
    given: NewEndpoint, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> EndpointWithSecret:
    """It is told what happens from now on. `secret` signs its calls, after Standard Webhooks."""
    await _require_filters(session, given)
    row = WebhookEndpoint(**given.model_dump(), secrets="")
    secret = secrets.put_first(context.vault, row)
    await save(session, row)
    session.add(WebhookBreaker(endpoint_id=row.id))
    await fanout.start(session, row.id)
    await record(session, principal, "webhook_endpoint.created", id=row.id, events=row.events)
    await again.announce(session)
    shape = await _shown(session, context, response, row)
    return EndpointWithSecret(**shape.model_dump(), secret=secret)


@router.get("/webhook-endpoints")
async def list_webhook_endpoints(
    session: SessionDep, context: ContextDep, _: Admin, paging: PagingDep, active: bool | None = None
) -> Page[EndpointShape]:
    statement = select(WebhookEndpoint)
    if active is not None:
        statement = statement.where(col(WebhookEndpoint.active) == active)
    rows, cursor = await page_of(session, statement, col(WebhookEndpoint.id), paging)
    return Page(items=await _shapes(session, context.settings, rows), next_cursor=cursor)


@router.get("/webhook-endpoints/{endpoint_id}")
async def get_webhook_endpoint(
    endpoint_id: UUID, response: Response, session: SessionDep, context: ContextDep, _: Admin
) -> EndpointShape:
    """With how it is doing."""
    return await _shown(session, context, response, await one(session, WebhookEndpoint, endpoint_id, _WHAT))


@router.patch("/webhook-endpoints/{endpoint_id}")
async def change_webhook_endpoint(
    endpoint_id: UUID,
    given: EndpointChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> EndpointShape:
    """Other events or filters hold for what happens from now on. While it is not active nothing is queued; once it is
    again, what happened meanwhile follows."""
    row = await locked(session, WebhookEndpoint, endpoint_id, _WHAT)
    require_version(request, row)
    await _require_filters(session, given)
    changed = change(row, given.given())
    if row.active:
        row.off_reason = None
    await save(session, row, new_version=True)
    if _STARTS_OVER & set(changed):
        await again.start_over(session, row.id)
    await record(session, principal, "webhook_endpoint.updated", id=row.id, changed=changed)
    return await _shown(session, context, response, row)


@router.delete("/webhook-endpoints/{endpoint_id}", status_code=204)
async def delete_webhook_endpoint(endpoint_id: UUID, session: SessionDep, principal: Admin) -> None:
    """With all that it was still to be told. To stop for a while, set `active` to false."""
    row = await locked(session, WebhookEndpoint, endpoint_id, _WHAT)
    await session.delete(row)
    await record(session, principal, "webhook_endpoint.deleted", id=endpoint_id)
    await again.announce(session)


@router.post("/webhook-endpoints/{endpoint_id}/rotate")
async def rotate_webhook_secret(
    endpoint_id: UUID,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
    given: Rotation | None = None,
) -> EndpointWithSecret:
    """A new secret. Until `old_secret_until` each call carries two signatures: of the new one and of the one before it."""
    row = await locked(session, WebhookEndpoint, endpoint_id, _WHAT)
    asked = given.overlap_s if given else None
    overlap_s = context.settings.webhook_overlap_s if asked is None else asked
    moment = (await session.execute(select(func.now()))).scalar_one()
    until = moment + timedelta(seconds=overlap_s) if overlap_s else None
    secret = secrets.rotate(context.vault, row, old_until=until)
    await save(session, row, new_version=True)
    await record(session, principal, "webhook_endpoint.rotated", id=row.id, old_secret_until=until)
    shape = await _shown(session, context, response, row)
    return EndpointWithSecret(**shape.model_dump(), secret=secret)


@router.post("/webhook-endpoints/{endpoint_id}/test", status_code=202)
async def test_webhook_endpoint(endpoint_id: UUID, session: SessionDep, principal: Admin) -> Tested:
    """Send it a `ping`, once, before all that waits; one that is down is tried with it. Raises 409 for one that is off."""
    row = await one(session, WebhookEndpoint, endpoint_id, _WHAT)
    if not row.active:
        raise Conflict("the endpoint is not active")
    return Tested(id=await again.ping(session, row.id))


@router.get("/webhook-endpoints/{endpoint_id}/deliveries")
async def list_webhook_deliveries(
    endpoint_id: UUID, session: SessionDep, _: Admin, paging: PagingDep, state: DeliveryState = DeliveryState.WAITING
) -> Page[DeliveryShape]:
    """What waits, was delivered (kept for a day), or was given up, in the order of events; test calls first."""
    return await _page(session, endpoint_id, paging, state, pings=True)


@router.get("/webhook-endpoints/{endpoint_id}/dead-letters")
async def list_dead_webhooks(
    endpoint_id: UUID, session: SessionDep, _: Admin, paging: PagingDep
) -> Page[DeliveryShape]:
    """What was given up, in the order of events. `POST .../replay` tells it again."""
    return await _page(session, endpoint_id, paging, DeliveryState.DEAD, pings=False)


@router.post("/webhook-endpoints/{endpoint_id}/replay", status_code=202)
async def replay_webhooks(
    endpoint_id: UUID, given: Replay, session: SessionDep, context: ContextDep, principal: Admin
) -> Requeued:
    """Queue events again, with the `webhook-id` they had; those of a conversation go out in their order."""
    await one(session, WebhookEndpoint, endpoint_id, _WHAT)
    limit = context.settings.webhook_replay_limit
    if given.ids is not None:
        queued = await again.by_id(session, endpoint_id, given.ids)
    elif given.since is not None:
        queued = await again.since(session, endpoint_id, given.since, limit=limit)
    else:
        queued = await again.dead(session, endpoint_id, limit=limit)
    await record(session, principal, "webhook_endpoint.replayed", id=endpoint_id, queued=queued)
    return Requeued(queued=queued)


async def _page(
    session: AsyncSession, endpoint_id: UUID, paging: Paging, state: DeliveryState, *, pings: bool
) -> Page[DeliveryShape]:
    await one(session, WebhookEndpoint, endpoint_id, _WHAT)
    place = (col(WebhookDelivery.event_id), col(WebhookDelivery.id))
    statement = select(WebhookDelivery).where(
        col(WebhookDelivery.endpoint_id) == endpoint_id, col(WebhookDelivery.state) == state
    )
    if not pings:
        statement = statement.where(place[0] > 0)
    if (after := paging.after_place()) is not None:
        statement = statement.where(func.row(*place) > func.row(*after))
    rows = (await session.exec(statement.order_by(*place).limit(paging.limit + 1))).all()
    page = rows[: paging.limit]
    cursor = cursor_of((page[-1].event_id, page[-1].id)) if len(rows) > paging.limit else None
    return Page(items=[DeliveryShape.model_validate(row) for row in page], next_cursor=cursor)
