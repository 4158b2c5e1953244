"""A Telegram user writes to the bot."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.providers import TelegramServer

_UPDATES = itertools.count(9000)


def update(text: str, chat: int = 4711) -> dict[str, Any]:
    number = next(_UPDATES)
    person = {"id": chat, "is_bot": False, "first_name": "Li", "last_name": "Wei", "language_code": "zh-hans"}
    return {
        "update_id": number,
        "message": {
            "message_id": number,
            "from": person,
            "chat": {"id": chat, "type": "private"},
            "date": 1789000000,
            "text": text,
        },
    }


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    telegram = TelegramServer()
    await telegram.start()
    config = {"bot_token": "123:secret-of-the-bot", "secret_token": "hook-secret", "api_base": telegram.base}
    channel = await team.server.make_channel("telegram", config, queue_id=team.queue_id)
    async with httpx.AsyncClient() as client:
        assert (await client.get(channel["webhook_url"])).status_code == 405, "Telegram tests no address"
        forged = await client.post(
            channel["webhook_url"], json=update("forged"), headers={"x-telegram-bot-api-secret-token": "no"}
        )
        assert forged.status_code == 401
        headers = {"x-telegram-bot-api-secret-token": "hook-secret"}
        answer = await client.post(channel["webhook_url"], json=update("衣柜的门刮花了"), headers=headers)
        assert answer.status_code == 200
        unknown = {"update_id": next(_UPDATES), "something_new": {"id": 1}}
        assert (await client.post(channel["webhook_url"], json=unknown, headers=headers)).status_code == 200
    conversation = await steps.take(team, "衣柜的门刮花了")
    sent = await steps.reply(team, conversation["id"], "我们马上给您换一扇门。")
    call = await telegram.expect(lambda body: body.get("text") == "我们马上给您换一扇门。")
    assert call["chat_id"] == 4711
    assert telegram.requests[0][0] == "/bot123:secret-of-the-bot/sendMessage"
    await steps.delivered(team, sent)
    await steps.resolve(team, conversation["id"])
    receipt = await telegram.expect(lambda body: "/f/" in body.get("text", ""))
    await steps.confirm(team, steps.link_in(receipt["text"]))
    await telegram.stop()
