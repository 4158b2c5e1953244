"""A receipt by a text that the provider has approved, where its channel takes nothing else now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import Template
from app.delivery import templates
from app.errors import Invalid
from app.feedback import receipt_approved
from app.feedback.receipt_approved import ProviderTemplate

_logger = log.get("receipts")


@dataclass(frozen=True, slots=True)
class Approved:
    """`text` is what the customer reads."""

    template: Template
    text: str


async def first(
    session: AsyncSession,
    channel_id: UUID,
    given: Iterable[ProviderTemplate],
    values: Mapping[str, str],
    *,
    cycle_id: UUID,
) -> Approved | None:
    """The first of them that the channel keeps as approved, filled in; one that it does not is left out, and logged."""
    for each in given:
        try:
            return await _approved(session, channel_id, each, values, cycle_id)
        except Invalid as error:
            _logger.warning("template not used", channel_id=channel_id, template=each.name, why=error.detail)
    return None


async def _approved(
    session: AsyncSession, channel_id: UUID, given: ProviderTemplate, values: Mapping[str, str], cycle_id: UUID
) -> Approved:
    """Raises Invalid."""
    row = await templates.named(session, channel_id, name=given.name, language=given.language)
    parameters, text = filled(row.body, given, values)
    buttons = receipt_approved.buttons_of(given, cycle_id, values["link"])
    return Approved(Template(given.name, given.language, parameters, buttons), text)


def filled(body: str, given: ProviderTemplate, values: Mapping[str, str]) -> tuple[list[str], str]:
    """The parameters of a body, and the text that they make. Raises Invalid when it takes another number of them, or is too
    long with the link."""
    wanted = templates.parameters_of(body)
    if wanted != len(given.variables):
        detail = f"the template takes {wanted} parameters, {len(given.variables)} are named"
        raise Invalid(detail, field="provider_template.variables")
    whole, asked = receipt_approved.whole(given), receipt_approved.values_of(given, values)
    parameters = templates.fitted(body, asked, whole=whole)
    return parameters, templates.rendered(body, parameters)
