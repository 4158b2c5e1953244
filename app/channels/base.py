"""What a channel is to the rest of the house: verify, parse a whole batch, send. docs/add-a-channel.md shows one made.

Everything that crosses this border is one of the frozen values here, in inbound.py (what comes) or in outbound.py (what
goes); no untyped dict of a provider leaves its module, except in `content`, which is stored for people and never
decided on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import httpx
from pydantic import BaseModel

from app.channels.inbound import (
    Call,
    CallUpdate,
    Change,
    ChangeKind,
    Echo,
    InboundFile,
    InboundMessage,
    Parsed,
    Refusal,
    RemoteFile,
    Sender,
    StatusUpdate,
    Threading,
    Unparseable,
)
from app.channels.outbound import (
    Choice,
    OutboundFile,
    Outgoing,
    RefusalReason,
    SendError,
    SendFailure,
    Sent,
    Template,
    TemplateButton,
)

__all__ = [
    "Adapter",
    "Answering",
    "Call",
    "CallUpdate",
    "Capabilities",
    "Change",
    "ChangeKind",
    "Checking",
    "Choice",
    "ConfigModel",
    "Configured",
    "Directing",
    "Echo",
    "Fetching",
    "Handshaking",
    "InboundFile",
    "InboundMessage",
    "OutboundFile",
    "Outgoing",
    "Parsed",
    "Profile",
    "Profiling",
    "Pulled",
    "Pulling",
    "Refusal",
    "RefusalReason",
    "RemoteFile",
    "Reply",
    "SendError",
    "SendFailure",
    "Sender",
    "Sent",
    "Situation",
    "StatusUpdate",
    "Template",
    "TemplateButton",
    "Threading",
    "Unparseable",
]


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
