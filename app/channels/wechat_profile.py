"""Who writes on WeChat and in WeCom, as far as they still tell."""

import httpx

from app.channels import wechat_api
from app.channels.base import Profile, Sender
from app.channels.meta import obj, sequence
from app.channels.text import word
from app.channels.wechat_api import Api


async def follower(api: Api, http: httpx.AsyncClient, sender: Sender) -> Profile:
    """An Official Account's follower; since 2021 WeChat leaves the nickname out for most. Raises SendError."""
    answer = await wechat_api.with_token(
        api,
        http,
        lambda good: wechat_api.request(
            api, http, "GET", "cgi-bin/user/info", good, params={"openid": sender.value}, idempotent=True
        ),
    )
    return Profile(word(answer.get("nickname")), word(answer.get("language"), 35), word(answer.get("headimgurl"), 2000))


async def customer(api: Api, http: httpx.AsyncClient, sender: Sender) -> Profile:
    """Raises SendError."""
    asked = {"external_userid_list": [sender.value]}
    answer = await wechat_api.post(api, http, "cgi-bin/kf/customer/batchget", asked, idempotent=True)
    row = next((obj(row) for row in sequence(answer.get("customer_list"))), {})
    return Profile(word(row.get("nickname")), None, word(row.get("avatar"), 2000))
