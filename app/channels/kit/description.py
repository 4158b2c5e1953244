"""What the kit has to be told about one channel type: how its provider signs, what it sends, how it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from app.channels.base import Adapter, Call, Parsed, RemoteFile, SendFailure

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What makes a call genuine. A name in `headers` or `query` has to be there and is covered; `secrets` are config fields.

    `body`, `url`: whether the proof covers every bit of them. `window_s`: how far the call's own time may be off; None
    where the provider signs no time.
    """

    secrets: Sequence[str]
    headers: Sequence[str] = ()
    query: Sequence[str] = ()
    body: bool = True
    url: bool = False
    window_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """How calls come in. A payload is a call's content before it is signed (and sealed, where the provider seals).

    `sign(config, payload, at)` is the genuine call. `message(key, text)` is a payload with one message; two keys are two
    messages. `batch` joins payloads into one call, where the provider does; `bad` is an item in it that cannot be read.
    `unknown` is a genuine call of a kind that nobody knows yet. `edit(key, text)`, `delete(key)` are about the message `key`;
    `status(provider_id, word)` is the provider's word for one of `statuses`. `samples` are more payloads, as different as possible: each is taken apart by the fuzzer.

    Where calls only ring a bell, payloads are pages: `bells` are the calls, and `pulled` reads a page as `pull` does.
    """

    sign: Callable[[Config, bytes, datetime], Call]
    proof: Proof
    message: Callable[[str, str], bytes] | None = None
    unknown: bytes
    batch: Callable[[Sequence[bytes]], bytes] | None = None
    bad: bytes | None = None
    edit: Callable[[str, str], bytes] | None = None
    delete: Callable[[str], bytes] | None = None
    status: Callable[[str, str], bytes] | None = None
    statuses: Sequence[str] = ("sent", "delivered", "read")
    samples: Sequence[bytes] = ()
    bells: Sequence[bytes] = ()
    pulled: Callable[[bytes], Parsed] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider says over HTTP."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.status, content=self.body, headers=dict(self.headers), request=request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """How messages go out. `accept(request)` is the answer of a provider in good health to each call (tokens, uploads,
    the message itself); `is_send` tells the calls that show the customer something. `texts` are the texts in such a call.

    `refusals` says a failure in the provider's own words: `(failure, words) -> Answer`, None where it has no such answer.
    `retry_after` is its "too often, come back in 7 s". `idempotency_key` finds what makes a second send harmless.
    `width` measures a text in the provider's units; by default `Capabilities.text_unit` decides. `check_refused` is the
    answer to `check` with credentials that are no good. `body_counts` is False where a 2xx alone means "taken".
    `pieces_per_call` is how many pieces of a long text go in one call. `takes` names what this provider carries although
    others do not: `no text`, `too long`, `a file`. `issued` are secrets that the provider gives (access tokens). `fields` are further ones
    of Outgoing that each message needs.
    """

    address: Mapping[str, Any]
    accept: Callable[[httpx.Request], Answer]
    is_send: Callable[[httpx.Request], bool]
    texts: Callable[[httpx.Request], Sequence[str]]
    refusal: Callable[[SendFailure, str], Answer | None]
    retry_after: Answer
    idempotency_key: Callable[[httpx.Request], str | None] | None = None
    width: Callable[[str], int] | None = None
    check_refused: Answer | None = None
    body_counts: bool = True
    pieces_per_call: int = 1
    takes: frozenset[str] = frozenset()
    issued: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How files of customers are fetched. `file(base)` is one that lies at the provider; `is_content` tells the call that
    gets the bytes from those before it, which `before(request)` answers; `gone` says that there is no such file any more."""

    file: Callable[[str], RemoteFile]
    is_content: Callable[[httpx.Request], bool] = lambda request: True
    before: Callable[[httpx.Request], Answer] = lambda request: Answer()
    gone: Answer = field(default_factory=lambda: Answer(404, b""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """`config(base)` is a complete configuration whose provider is at `base`. `not_checked` names checks that do not fit,
    each with the reason; a reason is read by people, so it has to be one."""

    adapter: Adapter
    config: Callable[[str], Config]
    incoming: Incoming | None = None
    outward: Outward | None = None
    files: Files | None = None
    not_checked: Mapping[str, str] = field(default_factory=dict)
