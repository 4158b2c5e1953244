"""Customers on WeChat, pushed to us sealed, and on WeCom, where a call only rings and the messages are pulled."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httpx
import orjson

from app.clock import now
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.server import Server
from tests.support.wechat import Account, Asked, WechatServer, seal, sign

SECRET = "0123456789abcdef0123456789abcdef"


async def asked(provider: WechatServer, name: str, *words: str) -> Asked:
    """The first call of that name whose body has all the words."""
    async with asyncio.timeout(20):
        while True:
            provider.arrived.clear()
            for call in provider.asked:
                if call.path == name and all(word in call.body.decode() for word in words):
                    return call
            await provider.arrived.wait()


def push(person: str, text: str, message_id: int) -> str:
    return (
        f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[{person}]]></FromUserName>"
        f"<CreateTime>{int(now().timestamp())}</CreateTime><MsgType><![CDATA[text]]></MsgType>"
        f"<Content><![CDATA[{text}]]></Content><MsgId>{message_id}</MsgId></xml>"
    )


async def replayed(server: Server, channel_id: str) -> list[dict[str, Any]]:
    """Every call that was kept, read once more."""
    rows = (await server.api("GET", f"/inbound-journal?channel_id={channel_id}"))["items"]
    return [await server.api("POST", f"/inbound-journal/{row['id']}/replay") for row in rows]


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    account = Account()
    wechat = WechatServer(account.receiver, SECRET)
    await wechat.start()
    config = {
        "app_id": account.receiver,
        "app_secret": SECRET,
        "token": account.token,
        "encoding_aes_key": account.aes_key,
        "api_base": wechat.base,
    }
    channel = await team.server.make_channel("wechat", config, queue_id=team.queue_id)
    url, person, number = channel["webhook_url"], f"o{secrets.token_hex(12)}", secrets.randbelow(2**62)
    question, answer = f"衣柜什么时候到? {person}", "星期一到货 \U0001f69a"
    async with httpx.AsyncClient() as client:
        stamp = str(int(now().timestamp()))
        test = {"signature": sign(account.token, stamp, "n"), "timestamp": stamp, "nonce": "n", "echostr": "8230514"}
        assert (await client.get(url, params=test)).content == b"8230514"
        assert (await client.get(url, params={**test, "nonce": "m"})).status_code == 401
        for _ in range(3):  # as WeChat does it when it has not heard our answer in time
            call = account.push(push(person, question, number), now())
            told = await client.post(url, params=dict(call.query), content=call.body)
            assert (told.status_code, told.content) == (200, b"success")
        forged = account.push(push(person, "forged", number + 1), now())
        assert (await client.post(url, params={**forged.query, "nonce": "m"}, content=forged.body)).status_code == 401
    conversation = await steps.take(team, question)
    sent = await steps.reply(team, conversation["id"], answer)
    custom = await asked(wechat, "message/custom/send", "星期一到货")
    assert orjson.loads(custom.body) == {"touser": person, "msgtype": "text", "text": {"content": answer}}
    assert b"\\u" not in custom.body
    await steps.delivered(team, sent)
    await steps.resolve(team, conversation["id"])
    receipt = await asked(wechat, "message/custom/send", "/f/")
    await steps.confirm(team, steps.link_in(receipt.json["text"]["content"]))
    again = await replayed(team.server, channel["id"])
    assert len(again) == 3
    assert {(row["error"], tuple(row["messages"])) for row in again} == {(None, tuple(again[0]["messages"]))}
    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    assert [item["text"] for item in messages if item["direction"] == "inbound"] == [question]
    assert wechat.tokens == 1
    await wechat.stop()


def page(*items: dict[str, Any], cursor: str, more: bool = False) -> dict[str, Any]:
    return {"msg_list": list(items), "next_cursor": cursor, "has_more": int(more)}


async def test_a_bell_is_rung_and_the_messages_are_pulled(team: Team) -> None:
    account, kf = Account(receiver="ww6a112864f8022910"), f"wk{secrets.token_hex(14)}"
    person = f"wm{secrets.token_hex(14)}"
    wecom = WechatServer(account.receiver, SECRET)
    await wecom.start()
    config = {
        "corp_id": account.receiver,
        "secret": SECRET,
        "open_kfid": kf,
        "token": account.token,
        "encoding_aes_key": account.aes_key,
        "api_base": wecom.base,
    }
    channel = await team.server.make_channel("wecom", config, queue_id=team.queue_id)
    url, answer = channel["webhook_url"], "星期一到货"

    def said(number: int) -> dict[str, Any]:
        item = {"msgid": f"{kf}-{number}", "open_kfid": kf, "external_userid": person, "send_time": 1795334400}
        return {**item, "origin": 3, "msgtype": "text", "text": {"content": f"第{number}件 {person}"}}

    async def ring(client: httpx.AsyncClient) -> None:
        call = account.push(
            f"<xml><ToUserName>{account.receiver}</ToUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>"
            f"<Event>kf_msg_or_event</Event><Token>BELL</Token><OpenKfId>{kf}</OpenKfId></xml>",
            now(),
        )
        told = await client.post(url, params=dict(call.query), content=call.body)
        assert (told.status_code, told.content) == (200, b"success")

    wecom.people = [{"external_userid": person, "nickname": "小李"}]
    wecom.pages = [page(said(1), cursor="c1", more=True), page(said(1), said(2), cursor="c2")]
    async with httpx.AsyncClient() as client:
        stamp = str(int(now().timestamp()))
        echo = seal(account.aes_key, account.receiver, b"8230514")
        test = {"msg_signature": sign(account.token, stamp, "n", echo), "timestamp": stamp, "nonce": "n"}
        assert (await client.get(url, params={**test, "echostr": echo})).content == b"8230514"
        assert (await client.get(url, params={**test, "nonce": "m", "echostr": echo})).status_code == 401
        await ring(client)
        conversation = await steps.take(team, f"第1件 {person}")
        await team.desk.expect("message.created", lambda frame: f"第2件 {person}" in frame["message"]["text"])
        sent = await steps.reply(team, conversation["id"], answer)
        custom = (await asked(wecom, "kf/send_msg", answer)).json
        assert custom.pop("msgid")
        assert custom == {"touser": person, "open_kfid": kf, "msgtype": "text", "text": {"content": answer}}
        await steps.delivered(team, sent)
        wecom.pages = [page(said(3), cursor="c3")]
        await ring(client)
        await team.desk.expect("message.created", lambda frame: f"第3件 {person}" in frame["message"]["text"])
    pulls = [call.json for call in wecom.asked if call.path == "kf/sync_msg"]
    assert [pull.get("cursor") for pull in pulls] == [None, "c1", "c2"]
    assert {(pull["token"], pull["open_kfid"]) for pull in pulls} == {("BELL", kf)}
    assert conversation["contact"]["name"] == "小李"
    await steps.resolve(team, conversation["id"])
    receipt = await asked(wecom, "kf/send_msg", "/f/")
    await steps.confirm(team, steps.link_in(receipt.json["msgmenu"]["head_content"]))
    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    inbound = [item["text"] for item in messages if item["direction"] == "inbound"]
    assert inbound == [f"第{number}件 {person}" for number in (1, 2, 3)]
    await wecom.stop()
