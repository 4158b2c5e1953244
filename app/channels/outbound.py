"""What goes to a provider, and what becomes of it: a message with all that its sending takes, or why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID


class SendFailure(StrEnum):
    """What to do about a failed send; one list for all channels (channels.md 8.3).

    WINDOW: the time to answer on this channel is over. QUOTA: nothing more may be sent until it is reset.
    """

    RETRY = "retry"
    UNKNOWN = "unknown"
    REAUTH = "reauth"
    PERMANENT = "permanent"
    RECIPIENT = "recipient"
    WINDOW = "window"
    QUOTA = "quota"
    CONFIG = "config"


class RefusalReason(StrEnum):
    """Why somebody is not to be written to: they said so, blocked us, complained, or the address does not exist."""

    OPT_OUT = "opt_out"
    BLOCKED = "blocked"
    COMPLAINED = "complained"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class OutboundFile:
    """`url` is a signed public link to the same bytes, for providers that fetch files themselves."""

    name: str
    media_type: str
    data: bytes
    url: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateButton:
    """What a button of an approved text takes: the payload that comes back with a press, or the end of its link."""

    kind: Literal["quick_reply", "url"]
    value: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text that the provider approved, by its name there; `parameters` fill it in, in their order, and so do `buttons`,
    where there are any (`Capabilities.template_buttons`)."""

    name: str
    language: str
    parameters: Sequence[str] = ()
    buttons: Sequence[TemplateButton] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that can be given by pressing a button: at most 20 characters `title`. `payload` comes back with the press
    (at most 64 bytes of ASCII). `query` makes a link of the receipt's address that preselects it."""

    title: str
    payload: str
    query: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. `address` is the sender's address of the identity we answer.

    `kind` is `reply`, `receipt` or `notice`; `receipt` holds the three parts and the link. `references` are the Message-IDs of
    the conversation, oldest first. `reply_token` goes into a mail's Reply-To. `attempt` counts from 1. `call` is a
    telephone call to be placed (kind `call`): the customer's number `to`, the agent's `agent`, our address `webhook`.
    `choices` are the answers to a receipt, for channels that have buttons; `question` goes above buttons that stand alone.
    `webhook` is our address for the channel, where its provider can reach it: None on a machine of its own.
    """

    message_id: UUID
    conversation_id: UUID
    seq: int
    kind: str
    text: str
    address: Mapping[str, Any]
    recipient_name: str | None = None
    author_name: str | None = None
    subject: str | None = None
    external_ref: str | None = None
    references: Sequence[str] = ()
    reply_token: str = ""
    receipt: Mapping[str, Any] | None = None
    files: Sequence[OutboundFile] = ()
    template: Template | None = None
    call: Mapping[str, Any] | None = None
    attempt: int = 1
    created_at: datetime | None = None
    choices: Sequence[Choice] = ()
    question: str = ""
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took it. `thread_key` is the Message-ID of a mail. `detail` is kept with the attempt: what the provider
    said of each of several recipients."""

    provider_message_id: str | None = None
    thread_key: str | None = None
    detail: str | None = None


class SendError(Exception):
    """Sending failed. `retry_after_s` is the provider's own wish: for the whole account, unless it is about `only_this`
    recipient. `refusal` says of RECIPIENT that nothing more should go to that person."""

    def __init__(
        self,
        failure: SendFailure,
        detail: str,
        *,
        retry_after_s: float | None = None,
        only_this: bool = False,
        refusal: RefusalReason | None = None,
    ) -> None:
        super().__init__(detail)
        self.failure, self.detail, self.retry_after_s = failure, detail, retry_after_s
        self.only_this, self.refusal = only_this, refusal
