"""Closing the loop where the customer is: confirmed, rated, gone on with, not solved, asked again, silent, and followed up."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from app.clock import now
from tests.journeys import steps, test_mail, test_meta
from tests.journeys.conftest import Team
from tests.support.meta import GraphServer
from tests.support.providers import MailSink
from tests.support.sockets import Widget
from tests.support.wechat import Account, WechatServer

Json = dict[str, Any]
WORDS = {"confirmed": "Yes, solved", "rejected": "Not solved"}
_NUMBERS = itertools.count(1)


class Side(ABC):
    """The customer's side. `buttons`: its receipts have some, and `press` is there."""

    buttons = False

    def __init__(self, team: Team) -> None:
        self.team, self.person = team, secrets.token_hex(6)
        self.channel: Json = {}

    @abstractmethod
    async def begin(self) -> None:
        """The channel, and whatever stands behind it."""

    @abstractmethod
    async def end(self) -> None: ...

    @abstractmethod
    async def write(self, text: str) -> None: ...

    @abstractmethod
    async def receipts(self, count: int) -> list[Any]:
        """What arrived with a link to a receipt, once there are so many."""

    async def press(self, receipt: Any, outcome: str) -> None:
        raise AssertionError("this channel has no buttons")

    async def answer(self, receipt: Any, outcome: str) -> None:
        await (self.press(receipt, outcome) if self.buttons else self.write(WORDS[outcome]))


async def until(arrived: asyncio.Event, look: Callable[[], list[Any]], count: int) -> list[Any]:
    async with asyncio.timeout(60):
        while True:
            arrived.clear()
            if len(found := look()) >= count:
                return found
            await arrived.wait()


class Site(Side):
    async def begin(self) -> None:
        config = {"allowed_origins": ["https://shop.example"]}
        self.channel = await self.team.server.make_channel("webchat", config, queue_id=self.team.queue_id)
        self.widget = await Widget(self.team.server.socket_base, self.channel["id"]).open()
        self.asked: list[Any] = []

    async def end(self) -> None:
        await self.widget.close()

    async def write(self, text: str) -> None:
        await self.widget.command("message.send", client_message_id=f"m{next(_NUMBERS)}", text=text)

    async def receipts(self, count: int) -> list[Any]:
        while len(self.asked) < count:
            self.asked.append(await self.widget.expect("feedback.requested", within=60))
        return self.asked


class Mail(Side):
    async def begin(self) -> None:
        self.sink = await MailSink().start()
        self.address = f"care-{self.person}@shop.example"
        config = {"address": self.address, "smtp_url": f"smtp://127.0.0.1:{self.sink.port}"}
        self.channel = await self.team.server.make_channel("email", config, queue_id=self.team.queue_id)

    async def end(self) -> None:
        await self.sink.stop()

    async def write(self, text: str) -> None:
        made = test_mail.mail(self.address, "Door", f"{text}\n\n-- \nGrace, sent from my phone\n")
        del made["From"]
        made["From"] = f"Grace <{self.person}@customer.example>"
        await test_mail.post(self.team, made)

    async def receipts(self, count: int) -> list[EmailMessage]:
        def found() -> list[EmailMessage]:
            return [mail for mail in self.sink.mails if "/f/" in test_mail.text_of(mail)]

        await self.sink.expect(lambda mail: len(found()) >= count, within=60)
        return found()


class WhatsApp(Side):
    buttons = True

    async def begin(self) -> None:
        self.graph = GraphServer(test_meta.TOKEN)
        await self.graph.start()
        secret = {"app_secret": test_meta.SECRET, "verify_token": "t", "access_token": test_meta.TOKEN}
        config = {**secret, "api_base": self.graph.base, "phone_number_id": "111"}
        self.channel = await self.team.server.make_channel("whatsapp", config, queue_id=self.team.queue_id)
        self.person = str(10_000_000_000 + secrets.randbelow(10**9))

    async def end(self) -> None:
        await self.graph.stop()

    async def say(self, **body: Any) -> None:
        contact = {"profile": {"name": "Ana Ng"}, "wa_id": self.person}
        stamp = str(int(time.time()))
        item = {"from": self.person, "id": f"wamid.j{next(_NUMBERS)}", "timestamp": stamp, **body}
        async with httpx.AsyncClient() as client:
            told = test_meta._whatsapp(contacts=[contact], messages=[item])
            assert await test_meta.post(client, self.channel["webhook_url"], told) == 200

    async def write(self, text: str) -> None:
        await self.say(type="text", text={"body": text})

    async def receipts(self, count: int) -> list[Any]:
        def found() -> list[Any]:
            return [body for _, body in self.graph.sent if body["type"] == "interactive"]

        return await until(self.graph.arrived, found, count)

    async def press(self, receipt: Any, outcome: str) -> None:
        [chosen] = [
            button["reply"]
            for button in receipt["interactive"]["action"]["buttons"]
            if button["reply"]["title"] == WORDS[outcome]
        ]
        await self.say(type="interactive", interactive={"type": "button_reply", "button_reply": chosen})


class WeCom(Side):
    buttons = True

    async def begin(self) -> None:
        self.account, self.kf = Account(receiver="ww6a112864f8022910"), f"wk{secrets.token_hex(14)}"
        self.person, secret = f"wm{secrets.token_hex(14)}", "0123456789abcdef0123456789abcdef"
        self.wecom = WechatServer(self.account.receiver, secret)
        await self.wecom.start()
        config = {
            "corp_id": self.account.receiver,
            "secret": secret,
            "open_kfid": self.kf,
            "token": self.account.token,
            "encoding_aes_key": self.account.aes_key,
            "api_base": self.wecom.base,
        }
        self.channel = await self.team.server.make_channel("wecom", config, queue_id=self.team.queue_id)

    async def end(self) -> None:
        await self.wecom.stop()

    async def say(self, **content: Any) -> None:
        number = next(_NUMBERS)
        item: Json = {"msgid": f"{self.kf}-{number}", "open_kfid": self.kf, "external_userid": self.person}
        item |= {"send_time": int(time.time()), "origin": 3, "msgtype": "text", "text": content}
        self.wecom.pages = [{"msg_list": [item], "next_cursor": f"c{number}", "has_more": 0}]
        call = self.account.push(
            f"<xml><ToUserName>{self.account.receiver}</ToUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>"
            f"<Event>kf_msg_or_event</Event><Token>BELL</Token><OpenKfId>{self.kf}</OpenKfId></xml>",
            now(),
        )
        async with httpx.AsyncClient() as client:
            told = await client.post(self.channel["webhook_url"], params=dict(call.query), content=call.body)
        assert told.status_code == 200

    async def write(self, text: str) -> None:
        await self.say(content=text)

    async def receipts(self, count: int) -> list[Any]:
        def found() -> list[Any]:
            calls = [call.json for call in self.wecom.asked if call.path == "kf/send_msg"]
            return [body for body in calls if body["msgtype"] == "msgmenu"]

        return await until(self.wecom.arrived, found, count)

    async def press(self, receipt: Any, outcome: str) -> None:
        items = [item["click"] for item in receipt["msgmenu"]["list"]]
        [chosen] = [item for item in items if item["content"] == WORDS[outcome]]
        await self.say(content=chosen["content"], menu_id=chosen["id"])


async def policy(team: Team, **fields: Any) -> None:
    """For this team's matters alone, from the next receipt on."""
    queue = await team.server.api("GET", f"/queues/{team.queue_id}")
    body = {"code": f"mine_{secrets.token_hex(4)}", "name": "Mine", "position": 1, "match": {"queue": [queue["name"]]}}
    await team.server.api("POST", "/closing-policies", {**body, **fields})


async def is_same_owner(team: Team, conversation_id: str, *, cycle: int) -> None:
    found = await team.server.api("GET", f"/conversations/{conversation_id}")
    assert (found["owner_id"], found["assignee_id"], found["cycle"]) == (team.agent["id"], team.agent["id"], cycle)


@pytest.mark.parametrize("kind", [Site, Mail, WhatsApp, WeCom], ids=lambda kind: kind.__name__.lower())
async def test_three_cycles(team: Team, kind: type[Side]) -> None:
    """Confirmed and rated, gone on with, not solved, gone on with, asked again, silent, and followed up."""
    side = kind(team)
    await side.begin()
    question = f"The door is scratched {side.person}"
    await side.write(question)
    matter = (await steps.take(team, question))["id"]

    def of_matter(frame: Json) -> bool:
        return bool(frame["conversation_id"] == matter)

    await steps.resolve(team, matter)
    [first] = await side.receipts(1)
    await side.answer(first, "confirmed")
    await team.desk.expect("conversation.closed", of_matter)
    await side.write("5")
    rated = await team.desk.expect("feedback.received", lambda frame: frame["ratings"].get("csat") == 5)
    assert rated["conversation_id"] == matter
    assert (await team.server.api("GET", f"/conversations/{matter}"))["status"] == "closed", "a rating reopens nothing"

    await side.write("It came off again, please help me")
    await team.desk.expect("conversation.reopened", of_matter)
    await is_same_owner(team, matter, cycle=2)
    await steps.resolve(team, matter)
    second = (await side.receipts(2))[1]
    if side.buttons:
        await _old_buttons(team, side, first, matter)
    await side.answer(second, "rejected")
    reopened = await team.desk.expect("conversation.reopened", of_matter)
    assert reopened["reason"] == "rejected"
    await is_same_owner(team, matter, cycle=3)

    await policy(team, remind_after_s=[1], confirm_after_s=6, reopen_window_s=0)
    await steps.resolve(team, matter)
    await side.receipts(4)
    closed = await team.desk.expect("conversation.closed", of_matter, within=60)
    assert closed["via"] == "timeout"
    await side.write("And now the lamp, please help me")
    followed = await team.desk.expect(
        "conversation.created", lambda frame: frame["conversation"]["follows_id"] == matter
    )
    assert followed["conversation_id"] != matter
    await _facts(team, side, matter)
    await side.end()


async def _old_buttons(team: Team, side: Side, first: Any, matter: str) -> None:
    """The first receipt is history, however often its buttons are pressed: it is kept, once, and moves nothing."""
    await side.press(first, "rejected")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == WORDS["rejected"])
    for outcome in ("confirmed", "rejected"):
        await side.press(first, outcome)
    found = await team.server.api("GET", f"/conversations/{matter}")
    assert (found["status"], found["cycle"]) == ("resolved", 2)
    kept = (await team.server.api("GET", f"/conversations/{matter}/messages?limit=100"))["items"]
    assert [item["text"] for item in kept].count(WORDS["rejected"]) == 1


async def _facts(team: Team, side: Side, matter: str) -> None:
    """Three cycles, three receipts and one reminder; the figures are those of what happened."""
    kept = (await team.server.api("GET", f"/conversations/{matter}/messages?limit=100"))["items"]
    asked = [item for item in kept if item["kind"] == "receipt"]
    assert len(asked) == 4
    assert all(item.get("error_code") is None for item in asked)
    channel = side.channel["id"]
    total = (await team.server.api("GET", f"/reports/outcomes?channel_id={channel}"))["total"]
    wanted = {"resolved": 3, "matters": 1, "confirmed": 2, "by_silence": 1, "rejected": 1, "reopened": 2}
    assert {name: total[name] for name in wanted} == wanted
    assert (total["first_contact"], total["ratings"], total["csat_average"]) == (0, 1, 5.0)
