"""Receipts in the best form of each channel: every byte of the buttons, presses that come back, and the plain text instead."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
import pytest

from app.channels import line_parse, mail_compose, receipts, slack_parse, viber_parse, wecom_parse
from app.channels.base import Choice, InboundMessage, Outgoing, SendError, SendFailure, Sent
from app.channels.kit.description import Answer
from app.channels.kit.sending import sends
from app.channels.kit.values import configured, outgoing, outward, read
from app.channels.mail_config import MailConfig
from app.channels.meta_messaging import Account, parse
from tests.channels import makers
from tests.channels.contract import DESCRIPTIONS
from tests.channels.contract.whatsapp import message as whatsapp_message

CYCLE = UUID("01935555-0000-7000-8000-00000000000c")
YES, NO = f"rt:y:{CYCLE.hex}", f"rt:n:{CYCLE.hex}"
LINK = "https://desk.test/f/t0ken"
TEXT = f"Was <it> solved & good?\n{LINK}"
CHOICES = (Choice("已解决", YES, "outcome=confirmed"), Choice("Not solved", NO, "outcome=rejected"))


def receipt(name: str, text: str = TEXT, **changed: Any) -> Outgoing:
    given = {"kind": "receipt", "choices": CHOICES, "question": "Is it solved?", "receipt": {"url": LINK}}
    return outgoing(DESCRIPTIONS[name], text, **{**given, **changed})


async def sent(name: str, message: Outgoing, *refusals: Answer) -> list[dict[str, Any]]:
    """What the customer's provider got, in order, when it refuses the first so often."""
    description, left = DESCRIPTIONS[name], list(refusals)
    provider = sends(description, lambda asked: left.pop(0) if left else outward(description).accept(asked))
    config = configured(description, provider.base)
    async with provider.client() as http:
        done = await receipts.in_best_form(message, lambda formed: description.adapter.send(config, formed, http))
    assert isinstance(done, Sent)
    bodies = [request.content for request in provider.requests if outward(description).is_send(request)]
    for body in bodies:
        assert b"\\u" not in body, "Chinese is written as it is"
    return [orjson.loads(body) for body in bodies]


WANTED: dict[str, dict[str, Any]] = {
    "whatsapp": {
        "type": "interactive",
        "interactive": {
            "type": "button",
            "body": {"text": TEXT},
            "action": {
                "buttons": [
                    {"type": "reply", "reply": {"id": YES, "title": "已解决"}},
                    {"type": "reply", "reply": {"id": NO, "title": "Not solved"}},
                ]
            },
        },
    },
    "telegram": {
        "text": TEXT,
        "reply_markup": {
            "inline_keyboard": [
                [{"text": "已解决", "callback_data": YES}, {"text": "Not solved", "callback_data": NO}],
            ]
        },
    },
    "wecom": {
        "msgtype": "msgmenu",
        "msgmenu": {
            "head_content": TEXT,
            "list": [
                {"type": "click", "click": {"id": YES, "content": "已解决"}},
                {"type": "click", "click": {"id": NO, "content": "Not solved"}},
            ],
        },
    },
    "viber": {
        "type": "text",
        "text": TEXT,
        "min_api_version": 6,
        "keyboard": {
            "Type": "keyboard",
            "DefaultHeight": False,
            "Buttons": [
                {
                    "Columns": 3,
                    "Rows": 1,
                    "ActionType": "reply",
                    "ActionBody": f"{payload} {title}",
                    "Text": title,
                    "Silent": True,
                }
                for payload, title in ((YES, "已解决"), (NO, "Not solved"))
            ],
        },
    },
    "slack": {
        "text": f"Was &lt;it&gt; solved &amp; good?\n{LINK}",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"Was &lt;it&gt; solved &amp; good?\n{LINK}"}},
            {
                "type": "actions",
                "elements": [
                    {
                        "type": "button",
                        "action_id": payload,
                        "text": {"type": "plain_text", "text": title, "emoji": False},
                        "value": payload,
                    }
                    for payload, title in ((YES, "已解决"), (NO, "Not solved"))
                ],
            },
        ],
    },
}
QUICK_REPLIES = [
    {"content_type": "text", "title": "已解决", "payload": YES},
    {"content_type": "text", "title": "Not solved", "payload": NO},
]


@pytest.mark.parametrize("name", WANTED)
async def test_buttons(name: str) -> None:
    [body] = await sent(name, receipt(name))
    assert {field: body[field] for field in WANTED[name]} == WANTED[name]


@pytest.mark.parametrize("name", ["messenger", "instagram"])
async def test_quick_replies(name: str) -> None:
    [body] = await sent(name, receipt(name))
    assert (body["message"]["text"], body["message"]["quick_replies"]) == (TEXT, QUICK_REPLIES)
    assert body["messaging_type"] == "RESPONSE"


async def test_line() -> None:
    [body] = await sent("line", receipt("line"))
    [message] = body["messages"]
    actions = [item["action"] for item in message["quickReply"]["items"]]
    assert actions == [
        {"type": "postback", "label": title, "data": f"{payload} {title}", "displayText": title}
        for payload, title in ((YES, "已解决"), (NO, "Not solved"))
    ]


@pytest.mark.parametrize("name", ["wechat"])
async def test_without_buttons_the_text_has_the_link(name: str) -> None:
    [body] = await sent(name, receipt(name))
    assert body["text"] == {"content": TEXT}


@pytest.mark.parametrize(("name", "length"), [("whatsapp", 1025), ("wecom", 1025)])
async def test_what_is_too_long_for_a_message_with_buttons_stands_above_the_question(name: str, length: int) -> None:
    long = "x" * (length - len(LINK) - 1) + f" {LINK}"
    first, last = await sent(name, receipt(name, long))
    assert long in orjson.dumps(first).decode()
    shown = last["interactive"]["body"]["text"] if name == "whatsapp" else last["msgmenu"]["head_content"]
    assert shown == "Is it solved?"
    [fits] = await sent(name, receipt(name, long[1:]))
    assert long[1:] in orjson.dumps(fits).decode()


@pytest.mark.parametrize("name", [*WANTED, "messenger", "instagram", "line"])
async def test_a_provider_that_refuses_buttons_gets_the_text(name: str) -> None:
    refusal = outward(DESCRIPTIONS[name]).refusal(SendFailure.PERMANENT, "no buttons here")
    assert refusal is not None
    formed, plain = await sent(name, receipt(name), refusal)
    assert YES in orjson.dumps(formed).decode()
    [wanted] = await sent(name, receipt(name, choices=()))
    assert plain == wanted
    assert YES not in orjson.dumps(plain).decode()


@pytest.mark.parametrize("failure", [failure for failure in SendFailure if failure is not SendFailure.PERMANENT])
async def test_what_may_have_gone_out_or_is_not_about_the_form_is_not_sent_again(failure: SendFailure) -> None:
    tried = 0

    async def send(message: Outgoing) -> Sent:
        nonlocal tried
        tried += 1
        raise SendError(failure, "no")

    with pytest.raises(SendError) as caught:
        await receipts.in_best_form(receipt("whatsapp"), send)
    assert (caught.value.failure, tried) == (failure, 1)


def test_a_mail_has_links_that_choose_and_do_not_settle() -> None:
    config = MailConfig.model_validate({"address": "help@shop.test", "smtp_url": "smtp://127.0.0.1:2525"})
    mail = mail_compose.compose(config, makers.outgoing(**_mail()), to="ana@customer.test")
    text, page = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert page is not None
    assert text.get_content().rstrip("\n") == TEXT
    for title, outcome in (("已解决", "confirmed"), ("Not solved", "rejected")):
        assert f'href="{LINK}?outcome={outcome}">{title}</a>' in page.get_content()
    assert mail["Auto-Submitted"] == "auto-generated"


def _mail() -> dict[str, Any]:
    return {"kind": "receipt", "text": TEXT, "choices": CHOICES, "receipt": {"url": LINK}, "subject": "Door"}


def press(name: str) -> InboundMessage:
    """As each provider tells that the first button was pressed."""
    quick = {"mid": "m1", "text": "已解决", "quick_reply": {"payload": YES}}
    bodies: dict[str, Any] = {
        "whatsapp": lambda: whatsapp_message(
            type="interactive", interactive={"type": "button_reply", "button_reply": {"id": YES, "title": "已解决"}}
        ),
        "telegram": lambda: orjson.dumps(
            {
                "update_id": 1,
                "callback_query": {
                    "id": "q1",
                    "from": {"id": 7, "first_name": "Ana"},
                    "data": YES,
                    "message": {
                        "message_id": 5,
                        "chat": {"id": 7, "type": "private"},
                        "reply_markup": {"inline_keyboard": [[{"text": "已解决", "callback_data": YES}]]},
                    },
                },
            }
        ),
    }
    if name in bodies:
        [found] = read(DESCRIPTIONS[name], bodies[name]()).messages
        return found
    if name == "slack":
        payload = {
            "type": "block_actions",
            "team": {"id": "T1"},
            "user": {"id": "U1", "username": "ana"},
            "channel": {"id": "C1"},
            "message": {"ts": "1795334401.000200", "thread_ts": "1795334400.000100"},
            "actions": [{"value": YES, "action_ts": "1795334402.000300", "text": {"text": "已解决"}}],
        }
        form = urlencode({"payload": orjson.dumps(payload).decode()}).encode()
        [found] = read(DESCRIPTIONS["slack"], form).messages
        assert (found.sender.value, found.sender.address["thread_ts"]) == (
            "T1:C1:1795334400.000100",
            "1795334400.000100",
        )
        assert not slack_parse.parse({**payload, "actions": [{"value": "approve"}]}).messages
        return found
    if name == "viber":
        event = {"event": "message", "message_token": 1, "timestamp": 1795334400000, "sender": {"id": "v1"}}
        [found] = viber_parse.parse({**event, "message": {"type": "text", "text": f"{YES} 已解决"}}).messages
        return found
    if name == "wecom":
        item = {"msgid": "m1", "external_userid": "wm1", "origin": 3, "msgtype": "text", "send_time": 1795334400}
        [found] = wecom_parse.parse_page([{**item, "text": {"content": "已解决", "menu_id": YES}}]).messages
        return found
    if name == "line":
        event = {"type": "postback", "timestamp": 1795334400000, "source": {"type": "user", "userId": "U1"}}
        [found] = line_parse.parse({"events": [{**event, "postback": {"data": f"{YES} 已解决"}}]}).messages
        return found
    event = {"sender": {"id": "7"}, "recipient": {"id": "9"}, "timestamp": 1795334400000, "message": quick}
    word = "page" if name == "messenger" else name
    [found] = parse({"object": word, "entry": [{"id": "9", "messaging": [event]}]}, Account(name, word, "9")).messages
    return found


@pytest.mark.parametrize("name", ["whatsapp", "telegram", "slack", "viber", "wecom", "line", "messenger", "instagram"])
def test_a_press_says_which_receipt_it_answers(name: str) -> None:
    found = press(name)
    assert (found.pressed, found.text) == (YES, "已解决")
    assert receipts.read(YES) == (CYCLE, "confirmed", "result")
    assert receipts.read(NO) == (CYCLE, "rejected", "result")
    assert receipts.read(receipts.payload_of(CYCLE, "rejected", "remedy")) == (CYCLE, "rejected", "remedy")


@pytest.mark.parametrize(("payload", "pressed"), [(YES, YES), ("Stop promotions", None)])
def test_a_press_below_a_template_of_whatsapp_is_a_kind_of_its_own(payload: str, pressed: str | None) -> None:
    told = whatsapp_message(type="button", button={"payload": payload, "text": "已解决"})
    [found] = read(DESCRIPTIONS["whatsapp"], told).messages
    assert (found.pressed, found.text) == (pressed, "已解决")


@pytest.mark.parametrize(
    "payload", ["", "rt:y:", f"rt:x:{CYCLE.hex}", YES.upper(), YES + "0", "yes", None, 5, f"x{YES}"]
)
def test_other_payloads_are_not_ours(payload: Any) -> None:
    assert receipts.pressed(payload) is None


def test_limits() -> None:
    """Telegram takes 64 bytes, LINE 300 characters, WeCom 128 bytes."""
    assert len(YES.encode()) == len(NO.encode()) == 37
