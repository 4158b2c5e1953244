"""Texts that a provider approved, with `{{1}}`, `{{2}}`, ... for their parameters: what may be sent at any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.base import Template
from app.errors import Invalid
from app.models import MessageTemplate
from app.models.words import TemplateStatus

PARAMETER_LIMIT = 1_024
_PLACE = re.compile(r"\{\{\s*(\d{1,3})\s*\}\}")
# What no provider lets into a parameter: it would break the approved layout.
_LAYOUT = re.compile(r"[\r\n\t]| {5,}")


def parameters_of(body: str) -> int:
    """How many parameters a body takes. Raises Invalid when their numbers are not 1, 2, 3, ..."""
    numbers = {int(number) for number in _PLACE.findall(body)}
    if numbers != set(range(1, len(numbers) + 1)):
        raise Invalid("parameters are numbered {{1}}, {{2}}, ... without a gap", field="body")
    return len(numbers)


def rendered(body: str, parameters: Sequence[str]) -> str:
    """The text as the customer sees it."""
    return _PLACE.sub(lambda found: parameters[int(found[1]) - 1], body)


async def filled(session: AsyncSession, channel_id: UUID, template: Template) -> str:
    """The text of a template that may be sent on a channel now. Raises Invalid naming the field."""
    found = await session.exec(
        select(MessageTemplate).where(
            col(MessageTemplate.channel_id) == channel_id,
            col(MessageTemplate.name) == template.name,
            col(MessageTemplate.language) == template.language,
        )
    )
    row = found.one_or_none()
    if row is None:
        raise Invalid("the channel has no such template in this language", field="template.name")
    if row.status != TemplateStatus.APPROVED:
        raise Invalid(f"the template is {row.status}, only approved ones can be sent", field="template.name")
    wanted, given = parameters_of(row.body), len(template.parameters)
    if wanted != given:
        raise Invalid(f"the template takes {wanted} parameters, {given} were given", field="template.parameters")
    for number, value in enumerate(template.parameters):
        if not value.strip() or _LAYOUT.search(value) or len(value) > PARAMETER_LIMIT:
            detail = f"1 to {PARAMETER_LIMIT} characters, no line breaks, no tabs, at most four spaces in a row"
            raise Invalid(detail, field=f"template.parameters.{number}")
    return rendered(row.body, template.parameters)
