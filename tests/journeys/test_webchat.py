"""A visitor of a site opens the chat widget."""

from __future__ import annotations

import secrets
import time

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.sockets import Refused, Widget

SECRET = "what the shop's backend signs its users with"


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    channel = await team.server.make_channel(
        "webchat", {"allowed_origins": ["https://shop.example"]}, queue_id=team.queue_id
    )
    async with Widget(team.server.socket_base, channel["id"]) as widget:
        stored = await widget.command("message.send", client_message_id="m1", text="Is the oak table in stock?")
        assert stored["seq"] == 1
        again = await widget.command("message.send", client_message_id="m1", text="Is the oak table in stock?")
        assert again["message_id"] == stored["message_id"], "the same client_message_id is one message"
        await widget.expect("message.created", lambda frame: frame["message"]["client_message_id"] == "m1")
        conversation = await steps.take(team, "oak table")
        await widget.expect("agent.joined", lambda frame: frame["agent"]["name"] == "Ada Agent")
        await team.desk.command("typing", conversation_id=conversation["id"], on=True)
        await widget.expect("typing", lambda frame: frame["on"])
        await team.desk.command(
            "message.send", conversation_id=conversation["id"], kind="note", text="VIP?", client_message_id="n1"
        )
        sent = await steps.reply(team, conversation["id"], "Yes, two of them.")
        shown = await widget.expect("message.created", lambda frame: frame["message"]["text"] == "Yes, two of them.")
        assert shown["seq"] == 3
        await steps.delivered(team, sent)
        await widget.command("conversation.read", seq=shown["seq"])
        await team.desk.expect("message.status", lambda frame: frame["status"] == "read")
        await steps.resolve(team, conversation["id"])
        asked = await widget.expect("feedback.requested")
        assert asked["receipt"]["commitment"] == steps.RECEIPT["commitment"]
        assert not any("VIP?" in str(frame) for frame in widget.frames), "a note never reaches the customer"
    await steps.confirm(team, asked["receipt"]["url"])


async def test_feedback_in_the_widget_closes(team: Team) -> None:
    channel = await team.server.make_channel("webchat", {"allowed_origins": []}, queue_id=team.queue_id)
    async with Widget(team.server.socket_base, channel["id"]) as widget:
        await widget.command("message.send", client_message_id="m1", text="My lamp flickers.")
        conversation = await steps.take(team, "lamp flickers")
        await steps.resolve(team, conversation["id"])
        await widget.expect("feedback.requested")
        with pytest.raises(Refused) as refused:
            await widget.command("feedback.submit", outcome="confirmed", csat=9)
        assert refused.value.frame["field"] == "csat"
        with pytest.raises(Refused) as refused:
            await widget.command("feedback.submit", csat="1_0")
        assert (refused.value.frame["field"], refused.value.frame["detail"]) == ("csat", "must be a whole number")
        answer = await widget.command("feedback.submit", outcome="confirmed", csat=4, comment="quick")
        assert answer["conversation_status"] == "closed"
        await widget.expect("conversation.updated", lambda frame: frame["conversation"]["status"] == "closed")


async def test_reconnecting_with_the_cursor_replays_what_was_missed(team: Team) -> None:
    channel = await team.server.make_channel("webchat", {"allowed_origins": []}, queue_id=team.queue_id)
    widget = await Widget(team.server.socket_base, channel["id"]).open()
    await widget.command("message.send", client_message_id="m1", text="Hello there")
    conversation = await steps.take(team, "Hello there")
    token, cursor = widget.welcome["visitor_token"], widget.cursor
    await widget.close()
    for number in range(5):
        await steps.reply(team, conversation["id"], f"answer {number}")
    async with Widget(team.server.socket_base, channel["id"], visitor_token=token, cursor=cursor) as back:
        assert back.welcome["visitor_token"] == token
        await back.expect("message.created", lambda frame: frame["message"]["text"] == "answer 4")
        texts = [frame["message"]["text"] for frame in back.events if frame["type"] == "message.created"]
        assert texts == [f"answer {number}" for number in range(5)]


async def test_logging_in_during_a_chat_that_an_agent_has(team: Team) -> None:
    """The visitor was known from before, from another browser: the agent goes on with the person they turn out to be."""
    channel = await team.server.make_channel(
        "webchat", {"allowed_origins": [], "identity_secret": SECRET}, queue_id=team.queue_id
    )
    identity = jwt.encode({"sub": "grace", "name": "Grace", "exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
    async with Widget(team.server.socket_base, channel["id"], identity=identity) as at_home:
        person = at_home.welcome["contact"]
    async with Widget(team.server.socket_base, channel["id"]) as widget:
        await widget.command("message.send", client_message_id="m1", text="Where is my parcel?")
        conversation = await steps.take(team, "my parcel")
        token = widget.welcome["visitor_token"]
        async with Widget(team.server.socket_base, channel["id"], visitor_token=token, identity=identity) as named:
            assert named.welcome["contact"] == person
            told = await team.desk.expect("conversation.updated", lambda frame: frame.get("changed") == ["contact_id"])
            assert told["conversation"]["contact_id"] == person["id"]
            await widget.expect("welcome", lambda frame: frame["contact"] == person)
            await team.desk.command("typing", conversation_id=conversation["id"], on=True)
            sent = await steps.reply(team, conversation["id"], "On its way, Grace.")
            for tab in (widget, named):
                await tab.expect("typing")
                await tab.expect("message.created", lambda frame: frame["message"]["text"] == "On its way, Grace.")
            await steps.delivered(team, sent)
            await named.command("message.send", client_message_id="m2", text="Thank you")
            await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "Thank you")
            await steps.resolve(team, conversation["id"])
            asked = await named.expect("feedback.requested")
            await widget.expect("feedback.requested")
    await steps.confirm(team, asked["receipt"]["url"])


async def test_another_site_is_refused(team: Team) -> None:
    channel = await team.server.make_channel(
        "webchat", {"allowed_origins": ["https://shop.example"]}, queue_id=team.queue_id
    )
    widget = Widget(team.server.socket_base, channel["id"])
    await widget.connect(origin="https://evil.example")
    error = await widget.expect("error")
    assert error["code"] == "origin-not-allowed"
    assert await widget.wait_closed() == 4401
    good = Widget(team.server.socket_base, channel["id"])
    await good.open(origin="https://shop.example")
    await good.close()


async def test_nothing_before_hello_and_three_bad_frames(team: Team) -> None:
    widget = Widget(team.server.socket_base, secrets.token_hex(4))
    await widget.connect()
    await widget.send("not json")
    with pytest.raises((AssertionError, ConnectionClosed)):
        await widget.send("[]")
        await widget.send('{"type":"message.send","text":"x","client_message_id":"y"}')
        await widget.expect("welcome", within=5)
    assert await widget.wait_closed() == 4400
