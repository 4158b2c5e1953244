"""`/channels`: the accounts by which customers reach us. Secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, Field, ValidationError, model_validator
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import open_secrets, seal_secrets
from app.channels.capable import Limits
from app.channels.config import split
from app.channels.registry import ADAPTERS
from app.channels.walk_in import WalkInAdapter
from app.context import Context
from app.delivery import accounts
from app.desk.auth import Admin
from app.desk.capability_shapes import AccountShape, ChannelCapabilities
from app.desk.endpoints.shared import (
    Body,
    ContextDep,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    api_router,
    change,
    locked,
    not_null,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.desk.snapshot import capabilities_of
from app.edge import SessionDep
from app.errors import AlreadyExists, Invalid, sentence
from app.models import Channel, Queue
from app.vault import Vault

router = api_router("channels")
_WHAT = "channel"
Config = Annotated[dict[str, Any], Field(max_length=100)]


class NewChannel(Body):
    """`config` depends on `type`; docs/protocol.md lists the fields of each."""

    type: str
    name: Name
    queue_id: UUID | None = None
    config: Config = Field(default_factory=dict)
    limits: Limits | None = None
    active: bool = True


class ChannelChange(Body):
    """`config` is merged into what is there; null takes an optional field out. `limits` replace those that were there."""

    name: Name | None = None
    queue_id: UUID | None = None
    config: Config | None = None
    limits: Limits | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(not_null("name", "config", "active"))


class ChannelShape(Shape):
    """`secrets_set` names the secrets that are stored. `limits` are the operator's own figures, `capabilities` what
    holds with them; `account` is how it stands at its provider."""

    id: UUID
    type: str
    name: str
    queue_id: UUID | None
    config: dict[str, Any]
    secrets_set: list[str]
    webhook_url: str
    limits: dict[str, Any]
    capabilities: ChannelCapabilities
    account: AccountShape
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


async def _shape(session: AsyncSession, context: Context, row: Channel) -> ChannelShape:
    return _shaped(context, row, (await accounts.shown(session, [row.id]))[row.id])


def _shaped(context: Context, row: Channel, account: Mapping[str, Any]) -> ChannelShape:
    return ChannelShape(
        **row.model_dump(exclude={"secrets", "limits"}),
        limits=row.limits or {},
        capabilities=ChannelCapabilities.model_validate(capabilities_of(row)),
        account=AccountShape.model_validate(account),
        secrets_set=sorted(name for name, value in open_secrets(context.vault, row.secrets).items() if value),
        webhook_url=context.settings.webhook_url(row.id),
    )


def _checked(type: str, config: dict[str, Any]) -> BaseModel:
    """Raises Invalid naming the field, `config.<name>`; what was given is not repeated, it may be a secret."""
    adapter = ADAPTERS.get(type)
    if adapter is None:
        raise Invalid(f"must be one of {', '.join(sorted(ADAPTERS))}", field="type")
    try:
        return adapter.config_model.model_validate(config)
    except ValidationError as error:
        listed = [
            {"field": ".".join(map(str, ("config", *item["loc"]))), "detail": sentence(item["msg"])}
            for item in error.errors(include_input=False, include_context=False, include_url=False)
        ]
        first = listed[0]
        raise Invalid(f"{first['field']}: {first['detail']}", field=first["field"], errors=listed) from None


def _put_config(vault: Vault, row: Channel, config: BaseModel) -> None:
    public, secrets = split(config)
    row.config, row.secrets = public, seal_secrets(vault, secrets)


async def _require_room(session: AsyncSession, type: str) -> None:
    """What is entered by hand lands on the one channel that every installation has. Raises AlreadyExists."""
    if type == WalkInAdapter.type and (await session.exec(select(Channel.id).where(Channel.type == type))).first():
        raise AlreadyExists("there is a channel of this type already; change that one, or switch it on", field="type")


async def _require_queue(session: AsyncSession, queue_id: UUID | None) -> None:
    queue = await session.get(Queue, queue_id) if queue_id else None
    if queue_id and (queue is None or not queue.active):
        raise Invalid("there is no such queue, or it is not active", field="queue_id")


@router.post("/channels", status_code=201)
async def create_channel(
    given: NewChannel, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> ChannelShape:
    """Open a channel. `webhook_url` is where its provider has to call."""
    config = _checked(given.type, given.config)
    await _require_room(session, given.type)
    await _require_queue(session, given.queue_id)
    row = Channel(type=given.type, name=given.name, queue_id=given.queue_id, secrets="", active=given.active)
    row.limits = given.limits.model_dump(exclude_unset=True) if given.limits else None
    _put_config(context.vault, row, config)
    await save(session, row)
    await record(session, principal, "channel.created", id=row.id, type=row.type, name=row.name)
    await context.catalog.changed(session)
    tag(response, row)
    return await _shape(session, context, row)


@router.get("/channels")
async def list_channels(
    session: SessionDep,
    context: ContextDep,
    _: Admin,
    paging: PagingDep,
    type: str | None = None,
    active: bool | None = None,
) -> Page[ChannelShape]:
    statement = select(Channel)
    if type is not None:
        statement = statement.where(col(Channel.type) == type)
    if active is not None:
        statement = statement.where(col(Channel.active) == active)
    rows, cursor = await page_of(session, statement, col(Channel.id), paging)
    states = await accounts.shown(session, [row.id for row in rows])
    return Page(items=[_shaped(context, row, states[row.id]) for row in rows], next_cursor=cursor)


@router.get("/channels/{channel_id}")
async def get_channel(
    channel_id: UUID, response: Response, session: SessionDep, context: ContextDep, _: Admin
) -> ChannelShape:
    row = await one(session, Channel, channel_id, _WHAT)
    tag(response, row)
    return await _shape(session, context, row)


@router.patch("/channels/{channel_id}")
async def change_channel(
    channel_id: UUID,
    given: ChannelChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> ChannelShape:
    row = await locked(session, Channel, channel_id, _WHAT)
    require_version(request, row)
    fields = given.given()
    if "queue_id" in fields:
        await _require_queue(session, given.queue_id)
    wish = fields.pop("config", None)
    changed = change(row, fields)
    if wish is not None:
        merged = {**row.config, **open_secrets(context.vault, row.secrets), **wish}
        kept = {name: value for name, value in merged.items() if value is not None}
        _put_config(context.vault, row, _checked(row.type, kept))
        changed += [f"config.{name}" for name in wish]
        await accounts.cleared(session, row.id)
    await save(session, row, new_version=True)
    await record(session, principal, "channel.updated", id=row.id, changed=changed)
    await context.catalog.changed(session)
    tag(response, row)
    return await _shape(session, context, row)


@router.delete("/channels/{channel_id}", status_code=204)
async def deactivate_channel(channel_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """It takes no more calls; its conversations stay."""
    row = await locked(session, Channel, channel_id, _WHAT)
    if change(row, {"active": False}):
        await save(session, row, new_version=True)
        await record(session, principal, "channel.deactivated", id=row.id)
        await context.catalog.changed(session)
