"""What comes from a provider, read: messages, changes, calls, statuses, refusals. Frozen values, no dict of a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.channels.outbound import RefusalReason, SendFailure


@dataclass(frozen=True, slots=True)
class Call:
    """One provider call, untouched. Header names are lower case; `url` is as the world sees it."""

    method: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Sender:
    """`(kind, value)` names the person on this channel; `address` is what a reply needs to reach them.

    `contact_id` is the id that their contact gets when this message makes it, where it has to be known before. `also`
    are other `(kind, value)` names that the provider gave for the same person in the same breath.
    """

    kind: str
    value: str
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    language: str | None = None
    address: Mapping[str, Any] = field(default_factory=dict)
    contact_id: UUID | None = None
    also: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class InboundFile:
    """Bytes that came with a message. `content_id` is the mail's cid of an inline image."""

    name: str
    media_type: str
    data: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Bytes that have to be fetched: `ref` is what the adapter's `fetch` needs, never a secret. With an `error`, for
    people, nothing will be fetched: it says why the file that was meant to be here is not."""

    name: str
    media_type: str
    size: int | None
    ref: Mapping[str, Any]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Threading:
    """How a mail says what it answers: our reply tokens first, then the Message-IDs, nearest first.

    The first `answers` of the references are In-Reply-To's. `thread_index` and `thread_topic` are Outlook's; `subject` is
    the bare subject, where it says enough to find a thread by.
    """

    reply_tokens: Sequence[str] = ()
    references: Sequence[str] = ()
    answers: int = 0
    thread_index: str | None = None
    thread_topic: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message from a customer. `external_id` is the provider's stable key, unique in the channel.

    `call` makes it a telephone call, as its first update has it (intake/calls.py). `pressed` is what a button below a
    receipt of ours carried (receipts.py); `text` is what was written on it.
    """

    external_id: str
    sender: Sender
    text: str
    subject: str | None = None
    sent_at: datetime | None = None
    files: Sequence[InboundFile | RemoteFile] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
    category: str | None = None
    external_ref: str | None = None
    client_message_id: str | None = None
    thread_key: str | None = None
    threading: Threading = Threading()
    automatic: bool = False
    call: Mapping[str, Any] | None = None
    pressed: str | None = None


class ChangeKind(StrEnum):
    EDIT = "edit"
    DELETE = "delete"
    REACTION = "reaction"


@dataclass(frozen=True, slots=True)
class Change:
    """What a customer did to a message that exists. `key` is stable and unique in the channel, like an external_id.

    The message is theirs (`external_id`) or ours (`provider_message_id`); both may be given when the provider's word
    fits either. `text` is the new text of an edit, the emoji of a reaction; a reaction that was taken back has None.
    """

    key: str
    kind: ChangeKind
    sender: Sender
    external_id: str | None = None
    provider_message_id: str | None = None
    text: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Echo:
    """A message that one of us wrote elsewhere, in the provider's own app: it belongs to the conversation as outbound."""

    external_id: str
    recipient: Sender
    text: str
    sent_at: datetime | None = None
    files: Sequence[InboundFile | RemoteFile] = ()
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """How a telephone call stands. All updates of one `call_id` are one message, which grows.

    `sender` is the customer, whoever called; None where this update does not say, and one that does is waited for.
    `state` is ringing, answered, ended, missed, voicemail, or None for one that only adds to the call. `cause` is the
    provider's word for the end. `order` sorts updates that overtake each other, where the provider counts them.
    `our_id` is our message, for a call that we placed. `talk_s` is how long both have talked, told afterwards; `unanswered`
    says that an agent was rung, and why they did not answer. `caller` and `callee` are as they were given.
    """

    key: str
    call_id: str
    sender: Sender | None
    direction: str = "inbound"
    state: str | None = None
    at: datetime | None = None
    order: int | None = None
    duration_s: float | None = None
    cause: str | None = None
    recording: RemoteFile | None = None
    transcript: str | None = None
    digits: str | None = None
    caller: str | None = None
    callee: str | None = None
    our_id: str | None = None
    talk_s: float | None = None
    unanswered: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """The provider's word on a message that we sent.

    Some say only "read up to this moment" (`upto`): then it is of every message to `recipient` until then, and
    `provider_message_id` is empty. `our_id` is our own message id, where the provider carries it back to us. `refusal`
    says of a failure that nothing more should go to that person.
    """

    provider_message_id: str
    status: str
    at: datetime | None = None
    detail: str | None = None
    upto: datetime | None = None
    recipient: Sender | None = None
    our_id: str | None = None
    failure: SendFailure | None = None
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody does not want to hear from us on this channel any more (`on`), or wants to again. `key` is stable."""

    key: str
    sender: Sender
    reason: RefusalReason
    on: bool = True
    at: datetime | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole call. `ignored` names kinds that we know and do not act on; `errors` items that could not be read.

    `people` are senders whose other names (`also`) are told without a message: who is known by one goes by all of them,
    and is reached at their `address`.
    """

    messages: Sequence[InboundMessage] = ()
    changes: Sequence[Change] = ()
    echoes: Sequence[Echo] = ()
    calls: Sequence[CallUpdate] = ()
    statuses: Sequence[StatusUpdate] = ()
    refusals: Sequence[Refusal] = ()
    people: Sequence[Sender] = ()
    ignored: Sequence[str] = ()
    errors: Sequence[str] = ()


class Unparseable(Exception):
    """The call is genuine and cannot be read at all: it is kept in the journal and answered 2xx."""
