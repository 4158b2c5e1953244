"""What a channel is to the rest of the house: verify, parse a whole batch, send. docs/add-a-channel.md shows one made.

Everything that crosses this border is one of the frozen values below; no untyped dict of a provider leaves its module,
except in `content`, which is stored for people and never decided on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

import httpx
from pydantic import BaseModel


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


class Unparseable(Exception):
    """The call is genuine and cannot be read at all: it is kept in the journal and answered 2xx."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the channel can carry. `idempotent_send`: a second send of the same message is harmless.

    `text_limit` counts `text_unit`s (characters are UTF-16 units); a longer text is split (`max_parts` messages at
    most). `file_limits` maps a kind (image, audio, video, file) to bytes, `file_types` to the media types that it
    takes (none: all); what does not fit its own kind goes as `file` where there is one. `files` without `file_limits`:
    any. `window_h` hours after the customer's last message replies end, but for `templates` (with `template_buttons`
    that we fill in); within it `window_count` messages may be sent. Until `tag_window_h` an agent's reply, and only
    that, goes out with a tag. `edits`, `deletes`, `reactions`: what customers can do. Without `answers` replies go by
    another channel, or not at all.
    """

    text_limit: int
    idempotent_send: bool
    live: bool = False
    files: bool = False
    text_unit: str = "characters"
    max_parts: int = 20
    file_limits: Mapping[str, int] = field(default_factory=dict)
    file_types: Mapping[str, Collection[str]] = field(default_factory=dict)
    max_files: int = 20
    edits: bool = False
    deletes: bool = False
    reactions: bool = False
    delivered: bool = False
    read: bool = False
    templates: bool = False
    template_buttons: bool = False
    window_h: float | None = None
    window_count: int | None = None
    tag_window_h: float | None = None
    answers: bool = True


ConfigModel: TypeAlias = type[BaseModel]  # spelt out here, because an adapter's own `type` shadows the builtin


class Adapter(Protocol):
    """One channel type. Stateless: everything it needs comes with the call."""

    type: ClassVar[str]
    config_model: ClassVar[ConfigModel]
    capabilities: ClassVar[Capabilities]

    def verify(self, config: Any, call: Call) -> None:
        """Raises app.errors.NotGenuine. Runs on the raw bytes, before anything is parsed."""

    def parse(self, config: Any, call: Call) -> Parsed:
        """Every item of the call; one bad item is an entry in `errors`. Raises Unparseable."""

    async def send(self, config: Any, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        """Raises SendError."""


@runtime_checkable
class Configured(Protocol):
    """What an adapter has besides when its configuration changes what it can carry."""

    def capabilities_of(self, config: Mapping[str, Any]) -> Capabilities:
        """By the public part of the configuration, which may be of an older version."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider gets to read instead of our own short answer."""

    body: bytes
    media_type: str = "text/plain; charset=utf-8"
    status: int = 200


@runtime_checkable
class Handshaking(Protocol):
    """What an adapter has besides when its provider tests the webhook address by GET."""

    def handshake(self, config: Any, call: Call) -> Reply:
        """Raises app.errors.NotGenuine."""


@runtime_checkable
class Answering(Protocol):
    """What an adapter has besides when its provider reads our answer. It is given once the call is stored."""

    def answer(self, config: Any, call: Call, parsed: Parsed) -> Reply:
        """A pure function of the call."""


@dataclass(frozen=True, slots=True)
class Situation:
    """How a call stands with us, for an adapter that is asked what to do with it next.

    `stage` is `waiting` (at `position` in its queue, from 1), `taken` (by an agent whose `agent_phone` may be None), `talked`
    (somebody has answered it) or `over`. `closed`: its queue is. `waited_s` counts from its beginning.
    """

    stage: str
    position: int | None = None
    waited_s: float = 0.0
    closed: bool = False
    patience_s: float | None = None
    agent_phone: str | None = None
    agent_name: str | None = None
    attempts: int = 0
    language: str | None = None
    caller: str | None = None


@runtime_checkable
class Directing(Protocol):
    """What an adapter has besides when its provider asks, while somebody is on the line, what to do with the call."""

    def asks(self, config: Any, call: Call) -> str | None:
        """The `call_id` when this call asks. Raises Unparseable."""

    def is_question(self, config: Any, call: Call) -> bool:
        """It tells nothing that we do not know: it need not be kept, where the call is known."""

    def direct(self, config: Any, call: Call, situation: Situation | None) -> Reply:
        """A pure function. None: the call is not known, or its situation could not be read."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What lay at the provider after a cursor; `cursor` is stored with the messages, in one transaction."""

    parsed: Parsed
    cursor: str
    more: bool


@runtime_checkable
class Pulling(Protocol):
    """What an adapter has besides when a call only rings a bell and the messages have to be fetched."""

    def bell(self, config: Any, call: Call) -> Mapping[str, str] | None:
        """What to pull (`source` names the cursor); None when this call is none."""

    async def pull(self, config: Any, bell: Mapping[str, str], cursor: str, http: httpx.AsyncClient) -> Pulled:
        """The next page. Raises SendError: the same reading of failures as for sending."""


@runtime_checkable
class Checking(Protocol):
    """What an adapter has besides when its credentials can be tried without sending anything."""

    async def check(self, config: Any, http: httpx.AsyncClient) -> None:
        """Raises SendError with REAUTH or CONFIG."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What the provider tells about a person; None is not known."""

    name: str | None = None
    language: str | None = None
    avatar_url: str | None = None
    phone: str | None = None
    email: str | None = None


@runtime_checkable
class Profiling(Protocol):
    """What an adapter has besides when its calls name people by an id only and their names can be asked for."""

    async def profile(self, config: Any, sender: Sender, http: httpx.AsyncClient) -> Profile:
        """Raises SendError: the same reading of failures as for sending."""


@runtime_checkable
class Fetching(Protocol):
    """What an adapter has besides when its messages name files that lie at the provider.

    With `fetches_anywhere = True` the addresses are other people's word: its `http` calls into the public internet only.
    """

    async def fetch(self, config: Any, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        """At most `limit` bytes. Raises app.channels.provider.FetchError."""
