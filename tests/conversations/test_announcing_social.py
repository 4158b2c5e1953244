"""What customers on WhatsApp and WeChat hear at once and later on: at their provider's wire, in their language, never a flood."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text
from sqlmodel import select

from app.catalog import seal_secrets
from app.channels.base import Call
from app.clock import now
from app.context import Context
from app.conversations import assignment, queries, replies
from app.delivery.sender import Sender
from app.errors import WindowClosed
from app.events.log import SYSTEM, Actor
from app.models import Agent, Channel, Outbox
from app.models.words import MessageKind
from app.routing import endings, transfers
from tests.channels.makers import call
from tests.conversations.test_announcing import HOUR, MINUTE, Street, context, open_street
from tests.journeys import test_meta, test_wechat
from tests.support.meta import GraphServer
from tests.support.wechat import Account, WechatServer

__all__ = ["context"]

PERSON = "4915550001"


@dataclass
class Phone:
    """A street whose customers write by their provider's calls, and what it was given for them, in order."""

    street: Street
    wire: GraphServer | WechatServer
    sender: Sender

    async def say(self, message: str = "", **more: Any) -> UUID:
        account = self.street.account
        parsed = account.adapter.parse(account.config, self._call(message, more))
        assert not parsed.errors
        [stored] = await self.street.context.intake.store(
            account, transport="webhook", headers={}, body=b"", parsed=parsed
        )
        return stored.conversation_id

    def _call(self, message: str, more: dict[str, Any]) -> Call:
        if isinstance(self.wire, GraphServer):
            told = test_meta._whatsapp_said(PERSON, message)
            told["entry"][0]["changes"][0]["value"]["messages"][0] |= more
            return call(orjson.dumps(told))
        pushed = test_wechat.push(f"o{PERSON}", message, 7 + len(self.wire.asked))
        for name, value in more.items():
            head, _, tail = pushed.partition(f"<{name}>")
            pushed = (
                f"{head}<{name}>{value}{tail[tail.index('</') :]}"
                if tail
                else f"{head[:-6]}<{name}>{value}</{name}></xml>"
            )
        return Account().push(pushed, now())

    async def _waiting(self) -> bool:
        async with self.street.database.begin() as session:
            return (await session.exec(select(Outbox).limit(1))).first() is not None

    async def hears(self) -> list[str]:
        """After the loops have had their turns; one message of a matter goes at a time."""
        await self.street.announcer.step()
        await self.street.announcer.step()
        while await self._waiting():
            await self.sender.step()
            await self.sender.idle()
        if isinstance(self.wire, GraphServer):
            assert {payload["to"] for _, payload in self.wire.sent} <= {PERSON}
            return [payload["text"]["body"] for _, payload in self.wire.sent]
        said = [asked.json for asked in self.wire.asked if asked.path == "message/custom/send"]
        assert {payload["touser"] for payload in said} <= {f"o{PERSON}"}
        return [payload["text"]["content"] for payload in said]


@pytest.fixture(params=["whatsapp", "wechat"])
async def phone(request: pytest.FixtureRequest, context: Context) -> AsyncIterator[Phone]:
    graph, wechat = GraphServer("t"), WechatServer(Account().receiver, "s")
    wire = graph if request.param == "whatsapp" else wechat
    async with wire:
        secrets: dict[str, Any] = {"app_secret": "s", "verify_token": "v", "access_token": "t"}
        config: dict[str, Any] = {"phone_number_id": "111", "api_base": wire.base}
        if wire is wechat:
            secrets = {"app_secret": "s", "token": Account().token, "encoding_aes_key": Account().aes_key}
            config = {"app_id": Account().receiver, "api_base": wire.base}
        sealed = seal_secrets(context.vault, secrets)
        street = await open_street(context, Channel(type=request.param, name="Social", config=config, secrets=sealed))
        async with context.database.begin() as session:
            agent = await session.get_one(Agent, street.agent.id)
            agent.capacity = 9
        sender = Sender(
            context.database, context.catalog, context.vault, context.settings, context.http, None, poke=lambda: None
        )
        yield Phone(street, wire, sender)
        await sender.drain(5)


@pytest.mark.parametrize(
    ("said", "wanted"), [("我的门坏了", "我们已收到您的消息"), ("My door hangs.", "we have received your message")]
)
async def test_acknowledged_at_once_in_their_language_with_the_link(phone: Phone, said: str, wanted: str) -> None:
    id = await phone.say(said)
    [heard] = await phone.hears()
    assert wanted in heard
    assert heard.endswith(f"http://test/c/{id}")
    await phone.say("!")
    assert len(await phone.hears()) == 1


async def test_who_sends_a_picture_first_is_answered_in_the_channels_language(phone: Phone) -> None:
    if isinstance(phone.wire, GraphServer):
        picture: dict[str, Any] = {"type": "image", "image": {"id": "m1", "mime_type": "image/jpeg"}}
    else:
        picture = {"MsgType": "image", "MediaId": "m1"}
    await phone.say(**picture)
    [heard] = await phone.hears()
    chinese = isinstance(phone.wire, WechatServer)
    assert ("我们已收到您的消息" in heard, "we have received" in heard) == (chinese, not chinese)


async def passed_on(phone: Phone, id: UUID, **to: Any) -> None:
    street = phone.street
    catalog = await street.context.catalog.current()
    async with street.database.begin() as session:
        held = await queries.lock(session, id)
        await transfers.transfer(session, held, actor=Actor("agent", street.agent.id), catalog=catalog, **to)


async def test_told_once_it_has_changed_hands_and_not_when_nobody_took_it(phone: Phone) -> None:
    street = phone.street
    colleague = Agent(name="Bo", email="bo@desk.example", capacity=9)
    async with street.database.begin() as session:
        session.add(colleague)
    id = await phone.say("My door hangs.")
    await street.assign(id)
    assert len(await phone.hears()) == 1
    await street.pass_time(16 * MINUTE)
    assert "is working on it" in (await phone.hears())[-1]

    await street.pass_time(16 * MINUTE)
    await passed_on(phone, id, agent_id=colleague.id)
    assert len(await phone.hears()) == 2, "they were only asked"
    async with street.database.begin() as session:
        held = await queries.lock(session, id)
        await endings.transfer_failed(session, held, colleague.id, "rejected", escalated=False)
    await street.pass_time(16 * MINUTE)
    assert len(await phone.hears()) == 2, "nothing has changed"
    await passed_on(phone, id, agent_id=colleague.id)
    async with street.database.begin() as session:
        held = await queries.lock(session, id)
        await assignment.hold_capacity(session, colleague.id, 1, force=True)
        await assignment.hold_agents(session, [colleague.id, street.agent.id])
        await assignment.assign(session, held, agent_id=colleague.id, weight=1, how="transfer", actor=SYSTEM)
    limited = isinstance(phone.wire, WechatServer)
    heard = await phone.hears()
    assert len(heard) == (2 if limited else 3), "of five messages three are left to agents"
    assert limited or "passed your matter on" in heard[-1]


async def test_ten_changes_are_one_notice_and_agents_can_still_write(phone: Phone) -> None:
    street = phone.street
    catalog = await street.context.catalog.current()
    id = await phone.say("我的门坏了")
    assert len(await phone.hears()) == 1
    await street.assign(id)
    for _ in range(3):
        await street.hold(id)
        await street.hold(id, resume=True)
    await passed_on(phone, id, queue_id=catalog.default_queue.id)
    assert len(await phone.hears()) == 1, "they were told a moment ago"
    await street.pass_time(16 * MINUTE)
    heard = await phone.hears()
    assert len(heard) == 2
    assert "已转交给更合适的同事处理" in heard[1]
    for _ in range(2):
        await street.pass_time(2 * HOUR)
        await street.hold(id)
        await phone.hears()
        await street.hold(id, resume=True)
    limited = isinstance(phone.wire, WechatServer)
    assert len(await phone.hears()) == (2 if limited else 3)
    async with street.database.begin() as session:
        held = await queries.lock(session, id)
        for number in range(3):
            await replies.send(session, held, author=street.agent, kind=MessageKind.REPLY, text=f"{number} 明天修好。")
        if limited:
            with pytest.raises(WindowClosed):
                await replies.send(session, held, author=street.agent, kind=MessageKind.REPLY, text="One more.")
    assert [words for words in await phone.hears() if "明天" in words] == [
        f"{number} 明天修好。" for number in range(3)
    ]
    async with street.database.begin() as session:
        failed = await session.execute(text("SELECT count(*) FROM message WHERE status = 'failed'"))
        assert failed.scalar_one() == 0
