"""A receipt as a text that the provider has approved, for when its channel takes nothing else: what fills it in. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.channels.base import TemplateButton
from app.channels.receipts import payload_of
from app.delivery.templates import TemplateLanguage, TemplateName
from app.errors import Invalid
from app.feedback import receipt_words
from app.models import ReceiptTemplate
from app.models.words import ReceiptKind

Variable = Literal["name", "subject", "problem", "resolution", "commitment", "link"]
Button = Literal["confirmed", "rejected", "link"]
Filler = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^\S+( \S+)*$")]
_FIELD = "provider_template"


class ProviderTemplate(BaseModel):
    """`name` and `language` as the channel keeps it (`/channels/{id}/templates`). `variables` are what its {{1}}, {{2}}, ...
    are filled in with, in their order; `buttons` what its buttons do, in theirs: `confirmed` and `rejected` are quick
    replies, `link` is an address that ends in /f/{{1}}. `empty` stands where a value is empty: no provider takes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: TemplateName
    language: TemplateLanguage
    variables: Annotated[list[Variable], Field(max_length=50)]
    buttons: Annotated[list[Button], Field(max_length=10)] = []
    empty: Filler = "–"


def check(given: ProviderTemplate) -> None:
    """Raises Invalid for one that the customer could not answer by, and for a button that is named twice."""
    if "link" not in (*given.variables, *given.buttons):
        raise Invalid("`link` is missing: without it the customer cannot answer", field=f"{_FIELD}.variables")
    if len(set(given.buttons)) < len(given.buttons):
        raise Invalid("a button is named twice", field=f"{_FIELD}.buttons")


def fitting(
    templates: Sequence[ReceiptTemplate], *, language: str, channel_type: str, reminder: bool
) -> Iterator[ProviderTemplate]:
    """Those of this type of channel in this language, the nearest first; a reminder goes by the receipt's behind its own."""
    wanted = receipt_words.tag(language)
    kinds = (ReceiptKind.REMINDER, ReceiptKind.RECEIPT) if reminder else (ReceiptKind.RECEIPT,)
    known = {
        (receipt_words.tag(row.language), row.kind): row.provider_template
        for row in templates
        if row.channel_type == channel_type and row.provider_template is not None
    }
    for kind in kinds:
        for word in dict.fromkeys((wanted, wanted.partition("-")[0])):
            if (found := known.get((word, kind))) is not None:
                yield ProviderTemplate.model_validate(found)


def values_of(given: ProviderTemplate, values: Mapping[str, str]) -> list[str]:
    """What fills in its variables, before it is made to fit; `values` has what receipt_words.PLACEHOLDERS name."""
    return [values[name] if values[name].strip() else given.empty for name in given.variables]


def whole(given: ProviderTemplate) -> set[int]:
    """The places of what must not be cut."""
    return {place for place, name in enumerate(given.variables) if name == "link"}


def buttons_of(given: ProviderTemplate, cycle_id: UUID, link: str) -> list[TemplateButton]:
    return [
        TemplateButton("url", link.rpartition("/")[2])
        if button == "link"
        else TemplateButton("quick_reply", payload_of(cycle_id, button))
        for button in given.buttons
    ]
