"""What a channel carries, when its window is open and how its account stands, as HTTP and sockets show it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from app.events.frames import Wire
from app.models.words import AccountState, RefusalReason


class TextShape(Wire):
    """A longer text is split, into `max_parts` messages at most. Characters are UTF-16 units."""

    limit: int
    unit: Literal["characters", "bytes"]
    max_parts: int


class FileKindShape(Wire):
    """`types` null: all. What does not fit its own kind goes as `file`, where there is one."""

    bytes: int
    types: list[str] | None


class FilesShape(Wire):
    """`kinds` null: any file that this installation takes."""

    kinds: dict[str, FileKindShape] | None
    max: int


class ReceiptsShape(Wire):
    delivered: bool
    read: bool


class CapabilitiesShape(Wire):
    """What the channel carries; `files` null: none. `edits`, `deletes`, `reactions` are what customers can do. Without
    `answers` replies go by another channel, or not at all."""

    text: TextShape
    files: FilesShape | None
    edits: bool
    deletes: bool
    reactions: bool
    receipts: ReceiptsShape
    templates: bool
    answers: bool
    live: bool


class WindowRule(Wire):
    """Replies end so many `hours` after the customer wrote, and after `count` messages; until `tag_hours` an agent's
    reply goes out under the provider's exception for people. Null: no such limit."""

    hours: float | None
    count: int | None
    tag_hours: float | None


class ChannelCapabilities(CapabilitiesShape):
    window: WindowRule


class WindowShape(Wire):
    """Whether a reply can go out now, until when, and which ways there are. `why` it is closed: the time is over, the
    count is used up, the customer has never written here, the provider said so, or no channel reaches the customer:
    then `note` is all that is allowed."""

    open: bool
    until: AwareDatetime | None
    allowed: list[Literal["reply", "template", "tag", "note"]]
    remaining: int | None
    why: Literal["time", "count", "never", "provider", "no_channel"] | None


class RefusedShape(Wire):
    """The customer is not to be written to on this channel. `may_be_overridden`: nobody said no, an address failed."""

    reason: RefusalReason
    at: AwareDatetime
    detail: str | None
    may_be_overridden: bool


class ConversationCapabilities(CapabilitiesShape):
    """At the moment of the answer; of the channel by which answers go, where it is not the conversation's own."""

    window: WindowShape
    refusals: list[RefusedShape]


class AccountShape(Wire):
    """`limited` until a moment; `reauth`: the provider refuses our credentials; `broken`: it does not answer, and one
    message at a time finds out whether it does again. What waits is sent afterwards."""

    state: AccountState
    detail: str | None
    since: AwareDatetime | None
    until: AwareDatetime | None


class DeskChannel(Wire):
    """A channel as agents see it."""

    id: UUID
    type: str
    name: str
    capabilities: ChannelCapabilities
    account: AccountShape


class ChannelNews(Wire):
    """How its account stands now."""

    id: UUID
    type: str
    name: str
    account: AccountShape


class TemplateUse(Wire):
    """An approved template of the channel, with its parameters in their order."""

    name: str = Field(min_length=1, max_length=512)
    language: str = Field(min_length=2, max_length=20)
    parameters: list[str] = Field(default_factory=list, max_length=50)
