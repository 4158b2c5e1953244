"""A reply on its way to a partner system, over a real wire."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvicorn
from pydantic import SecretStr

from app.channels import signatures
from app.channels.config import PartnerConfig
from app.channels.partner import PartnerAdapter
from app.clock import now
from tests.delivery.house import House

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Sending = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receiving = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Partner:
    """Answers with the given codes, then with 200."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.calls: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receiving, send: Sending) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        self.calls.append(({name.decode(): value.decode() for name, value in scope["headers"]}, body))
        code = self.codes.pop(0) if self.codes else 200
        await send({"type": "http.response.start", "status": code, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Server(uvicorn.Server):
    def __init__(self, partner: Partner) -> None:
        super().__init__(uvicorn.Config(partner, port=0, log_level="error", lifespan="off", ws="none"))
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def listening(partner: Partner) -> AsyncIterator[str]:
    server = Server(partner)
    serving = asyncio.create_task(server.serve())
    await server.ready.wait()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    finally:
        server.should_exit = True
        await serving


async def test_signed_and_tried_again(house: House) -> None:
    partner = Partner(503, 429)
    async with listening(partner) as url:
        config = PartnerConfig(secret=SecretStr(SECRET), callback_url=url)
        conversation = await house.conversation(await house.channel(PartnerAdapter(), config), external_ref="order-7")
        first, second = await house.write(conversation, 2)
        async with house.sending() as running:
            await running.until_empty()
    assert [orjson.loads(body)["data"]["message"]["seq"] for _, body in partner.calls] == [1, 1, 1, 2]
    for headers, body in partner.calls:
        signatures.verify_webhook(config.keys, headers, body, at=now())
    assert [headers["webhook-id"] for headers, _ in partner.calls] == [str(first.id)] * 3 + [str(second.id)]
    assert [item.outcome for item in await house.attempts(first.id)] == ["retry", "retry", "sent"]
    assert set((await house.statuses()).values()) == {"sent"}


async def test_a_refusal_is_visible(house: House) -> None:
    partner = Partner(400)
    async with listening(partner) as url:
        config = PartnerConfig(secret=SecretStr(SECRET), callback_url=url)
        [message] = await house.write(await house.conversation(await house.channel(PartnerAdapter(), config)))
        async with house.sending() as running:
            await running.until_empty()
    stored = await house.message(message.id)
    assert (stored.status, stored.error) == ("failed", "the channel refused the message: the partner answered 400")


async def test_nobody_listens(house: House) -> None:
    config = PartnerConfig(secret=SecretStr(SECRET), callback_url="http://127.0.0.1:9/hook")
    [message] = await house.write(await house.conversation(await house.channel(PartnerAdapter(), config)))
    sender = house.sender()
    await sender.step()
    await sender.idle()
    stored = await house.message(message.id)
    assert (stored.status, len(await house.outbox())) == ("sending", 1)
    assert stored.error is not None
    assert stored.error.startswith("not sent yet: ")
