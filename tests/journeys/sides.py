"""The customer's side of a channel, and the provider between us: they write, get receipts, and answer as one does there."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from email.message import EmailMessage
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from app.clock import now
from tests.journeys import test_mail, test_meta, test_wechat
from tests.journeys.conftest import Team
from tests.support.meta import GraphServer
from tests.support.providers import MailSink
from tests.support.sockets import Widget
from tests.support.wechat import Account, WechatServer

Json = dict[str, Any]
_NUMBERS = itertools.count(1)


class Side(ABC):
    """Somebody on a channel, for as long as an `async with`. `buttons`: receipts have some, and `press` is there; `words`
    are what these say, or what is answered instead."""

    buttons = False
    words: ClassVar[Mapping[str, str]] = {"confirmed": "Yes, solved", "rejected": "Not solved"}

    def __init__(self, team: Team) -> None:
        self.team, self.person = team, secrets.token_hex(6)
        self.channel: Json = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with self._stack as stack:
            await self.begin(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @abstractmethod
    async def begin(self, stack: AsyncExitStack) -> None:
        """The channel, and whatever stands behind it until the stack is closed."""

    @abstractmethod
    async def write(self, text: str) -> None: ...

    @abstractmethod
    async def receipts(self, count: int) -> Sequence[Any]:
        """What arrived with the question whether it is solved, once there are so many."""

    @abstractmethod
    async def read(self, words: str) -> str:
        """The text with these words, once it arrived."""

    async def press(self, receipt: Any, outcome: str) -> None:
        raise AssertionError("this channel has no buttons")

    async def answer(self, receipt: Any, outcome: str) -> None:
        await (self.press(receipt, outcome) if self.buttons else self.write(self.words[outcome]))


async def until(arrived: asyncio.Event, look: Callable[[], list[Any]], count: int) -> list[Any]:
    async with asyncio.timeout(60):
        while True:
            arrived.clear()
            if len(found := look()) >= count:
                return found
            await arrived.wait()


class Site(Side):
    """In the widget of a web site."""

    async def begin(self, stack: AsyncExitStack) -> None:
        config = {"allowed_origins": ["https://shop.example"]}
        self.channel = await self.team.server.make_channel("webchat", config, queue_id=self.team.queue_id)
        self.widget = await stack.enter_async_context(Widget(self.team.server.socket_base, self.channel["id"]))
        self.asked: list[Any] = []

    async def write(self, text: str) -> None:
        await self.widget.command("message.send", client_message_id=f"m{next(_NUMBERS)}", text=text)

    async def receipts(self, count: int) -> Sequence[Any]:
        while len(self.asked) < count:
            self.asked.append(await self.widget.expect("feedback.requested", within=60))
        return self.asked

    async def read(self, words: str) -> str:
        told = await self.widget.expect(
            "message.created", lambda frame: words in (frame["message"]["text"] or ""), within=60
        )
        return str(told["message"]["text"])


class Mail(Side):
    """With a signature, as mail programs have it."""

    async def begin(self, stack: AsyncExitStack) -> None:
        self.sink = await stack.enter_async_context(MailSink())
        self.address = f"care-{self.person}@shop.example"
        config = {"address": self.address, "smtp_url": f"smtp://127.0.0.1:{self.sink.port}"}
        self.channel = await self.team.server.make_channel("email", config, queue_id=self.team.queue_id)

    async def write(self, text: str) -> None:
        made = test_mail.mail(self.address, "Door", f"{text}\n\n-- \nGrace, sent from my phone\n")
        made.replace_header("From", f"Grace <{self.person}@customer.example>")
        await test_mail.post(self.team, made)

    async def receipts(self, count: int) -> Sequence[EmailMessage]:
        def found() -> list[EmailMessage]:
            return [mail for mail in self.sink.mails if "/f/" in test_mail.text_of(mail)]

        await self.sink.expect(lambda mail: len(found()) >= count, within=60)
        return found()

    async def read(self, words: str) -> str:
        return test_mail.text_of(await self.sink.expect(lambda mail: words in test_mail.text_of(mail), within=60))


class WhatsApp(Side):
    buttons = True

    async def begin(self, stack: AsyncExitStack) -> None:
        self.graph = await stack.enter_async_context(GraphServer(test_meta.TOKEN))
        secret = {"app_secret": test_meta.SECRET, "verify_token": "t", "access_token": test_meta.TOKEN}
        config = {**secret, "api_base": self.graph.base, "phone_number_id": "111"}
        self.channel = await self.team.server.make_channel("whatsapp", config, queue_id=self.team.queue_id)
        self.person = str(10_000_000_000 + secrets.randbelow(10**9))

    async def say(self, **body: Any) -> None:
        contact = {"profile": {"name": "Ana Ng"}, "wa_id": self.person}
        stamp = str(int(time.time()))
        item = {"from": self.person, "id": f"wamid.j{next(_NUMBERS)}", "timestamp": stamp, **body}
        async with httpx.AsyncClient() as client:
            told = test_meta._whatsapp(contacts=[contact], messages=[item])
            assert await test_meta.post(client, self.channel["webhook_url"], told) == 200

    async def write(self, text: str) -> None:
        await self.say(type="text", text={"body": text})

    async def receipts(self, count: int) -> Sequence[Any]:
        def found() -> list[Any]:
            return [body for _, body in self.graph.sent if body["type"] == "interactive"]

        return await until(self.graph.arrived, found, count)

    async def read(self, words: str) -> str:
        def found() -> list[str]:
            texts = [body.get("text") or body["interactive"]["body"] for _, body in self.graph.sent]
            return [text.get("body") or text["text"] for text in texts if words in str(text)]

        return str((await until(self.graph.arrived, found, 1))[0])

    async def press(self, receipt: Any, outcome: str) -> None:
        [chosen] = [
            button["reply"]
            for button in receipt["interactive"]["action"]["buttons"]
            if button["reply"]["title"] == self.words[outcome]
        ]
        await self.say(type="interactive", interactive={"type": "button_reply", "button_reply": chosen})


class WeCom(Side):
    buttons = True

    async def begin(self, stack: AsyncExitStack) -> None:
        self.account, self.kf = Account(receiver="ww6a112864f8022910"), f"wk{secrets.token_hex(14)}"
        self.person = f"wm{secrets.token_hex(14)}"
        self.wecom = await stack.enter_async_context(WechatServer(self.account.receiver, test_wechat.SECRET))
        config = {
            "corp_id": self.account.receiver,
            "secret": test_wechat.SECRET,
            "open_kfid": self.kf,
            "token": self.account.token,
            "encoding_aes_key": self.account.aes_key,
            "api_base": self.wecom.base,
        }
        self.channel = await self.team.server.make_channel("wecom", config, queue_id=self.team.queue_id)

    async def say(self, **content: Any) -> None:
        number = next(_NUMBERS)
        item: Json = {"msgid": f"{self.kf}-{number}", "open_kfid": self.kf, "external_userid": self.person}
        item |= {"send_time": int(time.time()), "origin": 3, "msgtype": "text", "text": content}
        self.wecom.pages = [{"msg_list": [item], "next_cursor": f"c{number}", "has_more": 0}]
        await _push(
            self.account,
            self.channel,
            f"<xml><ToUserName>{self.account.receiver}</ToUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>"
            f"<Event>kf_msg_or_event</Event><Token>BELL</Token><OpenKfId>{self.kf}</OpenKfId></xml>",
        )

    async def write(self, text: str) -> None:
        await self.say(content=text)

    async def receipts(self, count: int) -> Sequence[Any]:
        def found() -> list[Any]:
            return [body for body in self._sent() if body["msgtype"] == "msgmenu"]

        return await until(self.wecom.arrived, found, count)

    async def read(self, words: str) -> str:
        def found() -> list[str]:
            texts = [str(body.get("text") or body.get("msgmenu")) for body in self._sent()]
            return [text for text in texts if words in text]

        return str((await until(self.wecom.arrived, found, 1))[0])

    def _sent(self) -> list[Any]:
        return [call.json for call in self.wecom.asked if call.path == "kf/send_msg"]

    async def press(self, receipt: Any, outcome: str) -> None:
        items = [item["click"] for item in receipt["msgmenu"]["list"]]
        [chosen] = [item for item in items if item["content"] == self.words[outcome]]
        await self.say(content=chosen["content"], menu_id=chosen["id"])


class OfficialAccount(Side):
    """A follower of a WeChat Official Account in encrypted mode, where receipts are a text with a link. The profile says that
    they read Chinese."""

    words: ClassVar[Mapping[str, str]] = {"confirmed": "已经解决了，谢谢！", "rejected": "还没解决"}

    async def begin(self, stack: AsyncExitStack) -> None:
        self.account, self.person = Account(), f"o{secrets.token_hex(12)}"
        self.wechat = await stack.enter_async_context(WechatServer(self.account.receiver, test_wechat.SECRET))
        config = {
            "app_id": self.account.receiver,
            "app_secret": test_wechat.SECRET,
            "token": self.account.token,
            "encoding_aes_key": self.account.aes_key,
            "api_base": self.wechat.base,
        }
        self.channel = await self.team.server.make_channel("wechat", config, queue_id=self.team.queue_id)

    async def write(self, text: str) -> None:
        number = secrets.randbelow(2**62)
        await _push(self.account, self.channel, test_wechat.push(self.person, text, number))

    async def receipts(self, count: int) -> Sequence[str]:
        return await self._texts("/f/", count)

    async def read(self, words: str) -> str:
        return (await self._texts(words, 1))[0]

    async def _texts(self, words: str, count: int) -> list[str]:
        def found() -> list[str]:
            calls = [call.json for call in self.wechat.asked if call.path == "message/custom/send"]
            assert {call["touser"] for call in calls} <= {self.person}
            return [call["text"]["content"] for call in calls if words in call["text"]["content"]]

        return await until(self.wechat.arrived, found, count)


async def _push(account: Account, channel: Json, content: str) -> None:
    """Sealed and signed, as WeChat and WeCom call us."""
    call = account.push(content, now())
    async with httpx.AsyncClient() as client:
        told = await client.post(channel["webhook_url"], params=dict(call.query), content=call.body)
    assert (told.status_code, told.content) == (200, b"success")


async def policy(team: Team, **fields: Any) -> None:
    """For this team's matters alone, from the next receipt on."""
    queue = await team.server.api("GET", f"/queues/{team.queue_id}")
    body = {"code": f"mine_{secrets.token_hex(4)}", "name": "Mine", "position": 1, "match": {"queue": [queue["name"]]}}
    await team.server.api("POST", "/closing-policies", {**body, **fields})
