"""Receipts by a provider's template: whether one can go out as it is named, and what the customer would read."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels import capable
from app.channels.base import Capabilities
from app.channels.registry import ADAPTERS
from app.conversations import approved
from app.desk.endpoints.shared import Shape
from app.errors import Invalid
from app.feedback import receipt_approved
from app.feedback.receipt_approved import ProviderTemplate
from app.models import Channel, MessageTemplate
from app.models.words import TemplateStatus

_FIELD = "provider_template"
_CYCLE = UUID(int=0)


class ProviderTemplatePreview(Shape):
    """What goes out by the provider's template, once its `status` is approved: its parameters and buttons in their order, and
    the text that they make."""

    name: str
    language: str
    status: TemplateStatus
    parameters: list[str]
    buttons: list[str]
    text: str


async def check(
    session: AsyncSession, channel_type: str | None, given: ProviderTemplate, values: Mapping[str, str]
) -> ProviderTemplatePreview:
    """With the text of the first channel that keeps it. Raises Invalid naming what cannot be."""
    receipt_approved.check(given)
    if channel_type is None:
        raise Invalid("a provider's template is for one type of channel: name it", field="channel_type")
    able = {row.id: can for row in await _channels(session, channel_type) if (can := _can(row)).templates}
    if not able:
        raise Invalid("there is no active channel of this type that takes templates", field="channel_type")
    kept = await _kept(session, able, given)
    if kept is None:
        detail = "no channel of this type keeps this template in this language: /channels/{id}/templates"
        raise Invalid(detail, field=f"{_FIELD}.name")
    if given.buttons and not able[kept.channel_id].template_buttons:
        raise Invalid("templates on this type of channel have no buttons that we fill in", field=f"{_FIELD}.buttons")
    return _shown(kept, given, values)


async def _channels(session: AsyncSession, channel_type: str) -> list[Channel]:
    found = await session.exec(select(Channel).where(col(Channel.type) == channel_type, col(Channel.active)))
    return list(found.all())


def _can(channel: Channel) -> Capabilities:
    return capable.capabilities(ADAPTERS.get(channel.type), channel.config, channel.limits)


async def _kept(
    session: AsyncSession, able: Mapping[UUID, Capabilities], given: ProviderTemplate
) -> MessageTemplate | None:
    found = await session.exec(
        select(MessageTemplate)
        .where(
            col(MessageTemplate.channel_id).in_(able),
            col(MessageTemplate.name) == given.name,
            col(MessageTemplate.language) == given.language,
        )
        .order_by(col(MessageTemplate.id))
        .limit(1)
    )
    return found.one_or_none()


def _shown(kept: MessageTemplate, given: ProviderTemplate, values: Mapping[str, str]) -> ProviderTemplatePreview:
    parameters, text = approved.filled(kept.body, given, values)
    buttons = receipt_approved.buttons_of(given, _CYCLE, values["link"])
    return ProviderTemplatePreview(
        name=given.name,
        language=given.language,
        status=TemplateStatus(kept.status),
        parameters=parameters,
        buttons=[button.value for button in buttons],
        text=text,
    )
