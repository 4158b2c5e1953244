"""The kit itself: each mistake that an adapter can make is noticed by the check that is there for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.channels.base import (
    Call,
    Capabilities,
    InboundMessage,
    Outgoing,
    Parsed,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    Sent,
    Unparseable,
)
from app.channels.kit import CHECKS, Description, Skipped, run
from app.channels.line import LineAdapter
from app.channels.line_config import LineConfig
from app.errors import NotGenuine
from tests.channels.contract import DESCRIPTIONS

LINE = DESCRIPTIONS["line"]


class Believes(LineAdapter):
    def verify(self, config: LineConfig, call: Call) -> None:
        if "x-line-signature" not in call.headers:
            raise NotGenuine("x-line-signature is needed")


class Trips(LineAdapter):
    def verify(self, config: LineConfig, call: Call) -> None:
        call.headers["x-line-signature"].encode("ascii")
        super().verify(config, call)


class ReadsHalf(LineAdapter):
    def parse(self, config: LineConfig, call: Call) -> Parsed:
        parsed = super().parse(config, call)
        return Parsed(errors=parsed.errors) if parsed.errors else parsed


class Forgets(LineAdapter):
    def parse(self, config: LineConfig, call: Call) -> Parsed:
        parsed = super().parse(config, call)
        messages = [replace(message, external_id=str(id(message))) for message in parsed.messages]
        return replace(parsed, messages=messages, ignored=())


class Raises(LineAdapter):
    def parse(self, config: LineConfig, call: Call) -> Parsed:
        try:
            events = json.loads(call.body)["events"]
        except ValueError as error:
            raise Unparseable(str(error)) from None
        sender = Sender("line", "u", address={"to": "u"})
        return Parsed([InboundMessage(event["message"]["id"], sender, event["message"]["text"]) for event in events])


class Square(LineAdapter):
    def parse(self, config: LineConfig, call: Call) -> Parsed:
        parsed = super().parse(config, call)
        for one in parsed.messages:
            sum(abs(len(other.external_id)) for other in parsed.messages if other is not one)
        return parsed


class Hopes(LineAdapter):
    async def send(self, config: LineConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        try:
            return await super().send(config, outgoing, http)
        except SendError as error:
            raise SendError(SendFailure.RETRY, error.detail) from None


class Unsure(LineAdapter):
    capabilities = Capabilities(text_limit=5000, idempotent_send=False, edits=True, deletes=True)


class Cuts(LineAdapter):
    async def send(self, config: LineConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        for start in range(0, len(outgoing.text), 4999):
            await super().send(config, replace(outgoing, text=outgoing.text[start : start + 4999]), http)
        return Sent()


class Chatty(LineAdapter):
    async def send(self, config: LineConfig, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        logging.getLogger("line").debug("sending with %s", config.access_token.get_secret_value())
        return await super().send(config, outgoing, http)


class Greedy(LineAdapter):
    async def fetch(self, config: LineConfig, file: RemoteFile, http: httpx.AsyncClient, *, limit: int) -> bytes:
        answer = await http.get(f"{config.files_base}/{file.ref.get('message_id')}", follow_redirects=True)
        return answer.content


class Calm(LineAdapter):
    async def check(self, config: LineConfig, http: httpx.AsyncClient) -> None:
        return None


class Open(LineConfig):
    access_token: str  # type: ignore[assignment]


class Careless(LineAdapter):
    config_model = Open


BROKEN: list[tuple[type[LineAdapter], str]] = [
    (Believes, "flipped_body_bits_are_refused"),
    (Believes, "flipped_headers_are_refused"),
    (Believes, "missing_and_garbled_headers_are_refused"),
    (Believes, "other_secrets_are_refused"),
    (Believes, "garbage_is_refused_or_read"),
    (Trips, "missing_and_garbled_headers_are_refused"),
    (ReadsHalf, "one_bad_item_spoils_nothing"),
    (Forgets, "keys_are_stable"),
    (Forgets, "unknown_kinds_are_named"),
    (Raises, "mutated_payloads_are_survived"),
    (Raises, "any_bytes_are_read_or_unparseable"),
    (Raises, "edits_and_deletions_are_changes"),
    (Square, "work_grows_with_the_size_only"),
    (Hopes, "refusals_are_told_apart"),
    (Hopes, "a_wish_to_wait_is_heard"),
    (Hopes, "what_cannot_go_out_is_refused_before"),
    (Unsure, "a_lost_answer_is_not_a_failure"),
    (Cuts, "long_texts_are_split_where_people_read"),
    (Chatty, "secrets_are_never_told"),
    (Greedy, "files_come_within_their_limit"),
    (Greedy, "files_lie_at_the_provider_only"),
    (Calm, "credentials_can_be_tried"),
    (Careless, "secrets_are_marked"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN)
async def test_a_mistake_is_noticed(broken: type[LineAdapter], check: str) -> None:
    await run(check, LINE)
    with pytest.raises(AssertionError):
        await run(check, replace(LINE, adapter=broken()))


async def test_what_is_left_out_needs_a_reason() -> None:
    bare = Description(adapter=LINE.adapter, config=LINE.config)
    with pytest.raises(AssertionError, match="describe `incoming`"):
        await run("the_description_is_whole", bare)
    with pytest.raises(AssertionError, match="names no checks"):
        await run("the_description_is_whole", replace(LINE, not_checked={"no_such_check": "because"}))
    with pytest.raises(Skipped, match="because"):
        await run("a_message_is_read", replace(LINE, not_checked={"a_message_is_read": "because"}))


def test_each_check_has_a_name_that_says_what_holds() -> None:
    told: list[Callable[..., Any]] = list(CHECKS.values())
    assert [check.__name__ for check in told] == list(CHECKS)
    assert len(told) == len(set(told))
