"""Who WeCom's ids are: the nicknames of the people on a page."""

from collections.abc import Mapping
from dataclasses import replace

import httpx

from app.channels import wechat_api
from app.channels.base import Parsed, Sender, SendError
from app.channels.text import word
from app.channels.wechat_api import Api

_MOST = 100  # as many as one call may ask for; the others are named when they write again


async def named(api: Api, http: httpx.AsyncClient, parsed: Parsed) -> Parsed:
    """The same with names. Whoever cannot be named stays an id: a name is not worth losing a message."""
    ids = dict.fromkeys(message.sender.value for message in parsed.messages)
    if not ids:
        return parsed
    try:
        answer = await wechat_api.post(
            api, http, "cgi-bin/kf/customer/batchget", {"external_userid_list": list(ids)[:_MOST]}, idempotent=True
        )
    except SendError:
        return parsed
    names = _names(answer.get("customer_list"))
    return replace(
        parsed, messages=[replace(message, sender=_named(message.sender, names)) for message in parsed.messages]
    )


def _names(customers: object) -> dict[str, str]:
    found = {}
    for row in customers if isinstance(customers, list) else ():
        user = row.get("external_userid") if isinstance(row, dict) else None
        if isinstance(user, str) and (name := word(row.get("nickname"))):
            found[user] = name
    return found


def _named(sender: Sender, names: Mapping[str, str]) -> Sender:
    return replace(sender, name=names.get(sender.value))
