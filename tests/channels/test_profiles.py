"""Who is behind an id: what each provider is asked, and what is read from its answer."""

from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from app.channels.base import Profile, Profiling, Sender, SendError, SendFailure
from app.channels.registry import ADAPTERS
from app.channels.wechat_api import _tokens

META = {"app_secret": "s", "verify_token": "v", "access_token": "EAAtoken"}
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
WECHAT = {"token": "t", "encoding_aes_key": AES_KEY}
CONFIGS: dict[str, dict[str, Any]] = {
    "messenger": {**META, "account_id": "222"},
    "instagram": {**META, "account_id": "333"},
    "line": {"channel_secret": "s", "access_token": "linetoken"},
    "slack": {"signing_secret": "s", "bot_token": "xoxb-token"},
    "wechat": {**WECHAT, "app_id": "wx0123456789abcdef", "app_secret": "0123456789abcdef0123456789abcdef"},
    "wecom": {**WECHAT, "corp_id": "ww6a112864f8022910", "secret": "s" * 43, "open_kfid": "wk1"},
}
PICTURE = "https://cdn.example/a.jpg"


def config(kind: str) -> BaseModel:
    return ADAPTERS[kind].config_model.model_validate(CONFIGS[kind])


class Wire:
    """Keeps what is asked; gives `answer`."""

    def __init__(self, answer: Any, status: int = 200) -> None:
        self.answer, self.status = answer, status
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(("/stable_token", "/gettoken")):
            return httpx.Response(200, json={"access_token": "ACCESS", "expires_in": 7200})
        self.asked.append(request)
        return httpx.Response(self.status, json=self.answer)


async def ask(kind: str, sender: Sender, wire: Wire) -> Profile:
    adapter = ADAPTERS[kind]
    assert isinstance(adapter, Profiling)
    _tokens.clear()
    async with httpx.AsyncClient(transport=httpx.MockTransport(wire)) as http:
        return await adapter.profile(config(kind), sender, http)


def person(kind: str, value: str, **address: str) -> Sender:
    return Sender(kind, value, address=address)


CASES: list[tuple[str, Sender, Any, str, Profile]] = [
    (
        "messenger",
        person("messenger", "987", id="987"),
        {"first_name": "Ana", "last_name": "Ng", "profile_pic": PICTURE, "id": "987"},
        "https://graph.facebook.com/v24.0/987?fields=first_name,last_name,profile_pic",
        Profile("Ana Ng", None, PICTURE),
    ),
    (
        "instagram",
        person("instagram", "5678", id="5678"),
        {"username": "ana.ng", "profile_pic": PICTURE, "id": "5678"},
        "https://graph.instagram.com/v24.0/5678?fields=name,username,profile_pic",
        Profile("ana.ng", None, PICTURE),
    ),
    (
        "line",
        person("line", "U1", to="U1"),
        {"displayName": "Ana", "userId": "U1", "language": "ja", "pictureUrl": PICTURE, "statusMessage": "hi"},
        "https://api.line.me/v2/bot/profile/U1",
        Profile("Ana", "ja", PICTURE),
    ),
    (
        "line",
        person("line", "C9:U1", to="C9"),
        {"displayName": "Ana", "userId": "U1"},
        "https://api.line.me/v2/bot/group/C9/member/U1",
        Profile("Ana"),
    ),
    (
        "line",
        person("line", "R9:U1", to="R9"),
        {"displayName": "Ana", "userId": "U1"},
        "https://api.line.me/v2/bot/room/R9/member/U1",
        Profile("Ana"),
    ),
    (
        "slack",
        person("slack", "T1:C1:1.2", channel="C1", user="U1"),
        {
            "ok": True,
            "user": {
                "name": "ana",
                "locale": "en-GB",
                "profile": {"display_name": "", "real_name": "Ana Ng", "image_192": PICTURE, "email": "ana@x.example"},
            },
        },
        "https://slack.com/api/users.info",
        Profile("Ana Ng", "en-GB", PICTURE, email="ana@x.example"),
    ),
    (
        "wechat",
        person("wechat", "o1", openid="o1"),
        {"subscribe": 1, "openid": "o1", "nickname": "小李", "language": "zh_CN", "headimgurl": PICTURE},
        "https://api.weixin.qq.com/cgi-bin/user/info?openid=o1&access_token=ACCESS",
        Profile("小李", "zh_CN", PICTURE),
    ),
    (
        "wechat",
        person("wechat", "o1", openid="o1"),
        {"subscribe": 0, "openid": "o1", "nickname": "", "headimgurl": ""},
        "https://api.weixin.qq.com/cgi-bin/user/info?openid=o1&access_token=ACCESS",
        Profile(),
    ),
    (
        "wecom",
        person("wecom", "wm1", external_userid="wm1"),
        {"errcode": 0, "customer_list": [{"external_userid": "wm1", "nickname": "小李", "avatar": PICTURE}]},
        "https://qyapi.weixin.qq.com/cgi-bin/kf/customer/batchget?access_token=ACCESS",
        Profile("小李", None, PICTURE),
    ),
    (
        "wecom",
        person("wecom", "wm1", external_userid="wm1"),
        {"errcode": 0, "customer_list": [], "invalid_external_userid": ["wm1"]},
        "https://qyapi.weixin.qq.com/cgi-bin/kf/customer/batchget?access_token=ACCESS",
        Profile(),
    ),
]


@pytest.mark.parametrize(("kind", "sender", "answer", "url", "profile"), CASES)
async def test_what_is_asked_and_read(kind: str, sender: Sender, answer: Any, url: str, profile: Profile) -> None:
    wire = Wire(answer)
    assert await ask(kind, sender, wire) == profile
    (request,) = wire.asked
    assert httpx.URL(str(request.url)) == httpx.URL(url)


async def test_what_is_asked_in_a_body() -> None:
    slack = Wire({"ok": True, "user": {"name": "ana"}})
    assert (await ask("slack", person("slack", "T1:C1", user="U1"), slack)).name == "ana"
    assert slack.asked[0].content == b"user=U1&include_locale=true"
    wecom = Wire({"errcode": 0})
    await ask("wecom", person("wecom", "wm1"), wecom)
    assert wecom.asked[0].content == b'{"external_userid_list":["wm1"]}'


@pytest.mark.parametrize(
    ("kind", "sender"),
    [
        ("messenger", person("messenger", "ref:1", user_ref="1")),
        ("messenger", person("messenger", "../x", id="../x")),
        ("line", person("line", "C9:group", to="C9")),
        ("line", person("line", "U/1", to="U/1")),
        ("slack", person("slack", "T1:C1", channel="C1")),
    ],
)
async def test_nobody_to_ask_for(kind: str, sender: Sender) -> None:
    wire = Wire({})
    with pytest.raises(SendError) as caught:
        await ask(kind, sender, wire)
    assert caught.value.failure is SendFailure.RECIPIENT
    assert wire.asked == []


@pytest.mark.parametrize("kind", sorted(CONFIGS))
@pytest.mark.parametrize("status", [503, 429])
async def test_a_provider_that_is_busy_is_asked_again(kind: str, status: int) -> None:
    sender = next(case[1] for case in CASES if case[0] == kind)
    with pytest.raises(SendError) as caught:
        await ask(kind, sender, Wire({}, status))
    assert caught.value.failure is SendFailure.RETRY


@pytest.mark.parametrize("kind", sorted(CONFIGS))
@pytest.mark.parametrize("odd", [[], {"user": 5, "customer_list": [5], "errcode": 0, "ok": True}])
async def test_odd_answers(kind: str, odd: Any) -> None:
    sender = next(case[1] for case in CASES if case[0] == kind)
    told: Profile | SendFailure
    try:
        told = await ask(kind, sender, Wire(odd))
    except SendError as error:
        told = error.failure
    assert told in (Profile(), SendFailure.RETRY)


def test_who_can_be_asked() -> None:
    asked = {kind for kind, adapter in ADAPTERS.items() if isinstance(adapter, Profiling)}
    assert asked == {*CONFIGS, "viber"}
