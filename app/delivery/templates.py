"""Texts that a provider approved, with `{{1}}`, `{{2}}`, ... for their parameters: what may be sent at any time."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.base import Template
from app.channels.split import utf16
from app.errors import Invalid
from app.models import MessageTemplate
from app.models.words import TemplateStatus

TemplateName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_.:-]{1,512}$")]
TemplateLanguage = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z]{2,8}([_-][A-Za-z0-9]{2,8}){0,3}$")
]
PARAMETER_LIMIT = BODY_LIMIT = 1_024
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


def fitted(body: str, values: Sequence[str], *, whole: Collection[int] = ()) -> list[str]:
    """Values of any length and layout as parameters of a body: each on one line, the longest cut so far that all of it fits.

    Those whose places (from 0) are in `whole` are never cut. Raises Invalid when it does not fit then.
    """
    lines = [" ".join(value.split()) for value in values]

    def cut(limit: int) -> list[str]:
        return [line if place in whole else _shortened(line, limit) for place, line in enumerate(lines)]

    def too_long(limit: int) -> bool:
        return sum(map(utf16, rendered(body, cut(limit)))) > BODY_LIMIT

    limit = bisect_left(range(1, PARAMETER_LIMIT + 1), True, key=too_long)
    if limit == 0:
        raise Invalid(f"the text of the template has more than {BODY_LIMIT} characters", field="template.parameters")
    return cut(limit)


def _shortened(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


async def named(session: AsyncSession, channel_id: UUID, *, name: str, language: str) -> MessageTemplate:
    """The template as it may be sent on a channel now. Raises Invalid naming the field."""
    found = await session.exec(
        select(MessageTemplate).where(
            col(MessageTemplate.channel_id) == channel_id,
            col(MessageTemplate.name) == name,
            col(MessageTemplate.language) == language,
        )
    )
    row = found.one_or_none()
    if row is None:
        raise Invalid("the channel has no such template in this language", field="template.name")
    if row.status != TemplateStatus.APPROVED:
        raise Invalid(f"the template is {row.status}, only approved ones can be sent", field="template.name")
    return row


async def filled(session: AsyncSession, channel_id: UUID, template: Template) -> str:
    """The text of a template that may be sent on a channel now. Raises Invalid naming the field."""
    row = await named(session, channel_id, name=template.name, language=template.language)
    wanted, given = parameters_of(row.body), len(template.parameters)
    if wanted != given:
        raise Invalid(f"the template takes {wanted} parameters, {given} were given", field="template.parameters")
    for number, value in enumerate(template.parameters):
        if not value.strip() or _LAYOUT.search(value) or len(value) > PARAMETER_LIMIT:
            detail = f"1 to {PARAMETER_LIMIT} characters, no line breaks, no tabs, at most four spaces in a row"
            raise Invalid(detail, field=f"template.parameters.{number}")
    return rendered(row.body, template.parameters)
