"""A visitor fills in a form, is answered by mail, and follows the matter without an account."""

from __future__ import annotations

import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.test_mail import mail, post, text_of
from tests.support.providers import MailSink
from tests.support.sockets import Refused

HTML = {"accept": "text/html"}


def filled(text: str, **more: str) -> dict[str, str]:
    tag = secrets.token_hex(4)
    return {"name": "Grace", "email": f"{tag}@customer.example", "message": text, "consent": "on", **more}


async def mail_channel(team: Team, sink: MailSink) -> dict[str, Any]:
    address = f"forms-{secrets.token_hex(3)}@shop.example"
    config = {"address": address, "smtp_url": f"smtp://127.0.0.1:{sink.port}"}
    return await team.server.make_channel("email", config, queue_id=team.queue_id)


async def test_from_the_form_to_the_confirmation_by_mail(team: Team, sink: MailSink) -> None:
    answering = await mail_channel(team, sink)
    config = {"reply_channel_id": answering["id"]}
    channel = await team.server.make_channel("form", config, queue_id=team.queue_id)
    given = filled("The wardrobe door is scratched.", subject="Wardrobe")
    async with httpx.AsyncClient() as browser:
        thanks = await browser.post(channel["webhook_url"], data=given, headers=HTML)
        assert thanks.status_code == 303, thanks.text
        page = await browser.get(thanks.headers["location"], headers=HTML)
        assert page.status_code == 200
        found = re.search(r'href="(http[^"]*/c/[^"]+)"', page.text)
        assert found, page.text
        progress = await browser.get(found.group(1), headers=HTML)
        assert "The wardrobe door is scratched." in progress.text

    conversation = await steps.take(team, "wardrobe door")
    assert conversation["channel_type"] == "form"
    assert conversation["contact"]["email"] == given["email"]
    sent = await steps.reply(team, conversation["id"], "A new door is on its way.")
    answer = await sink.expect(lambda found: "A new door" in text_of(found))
    assert answer["To"].addresses[0].addr_spec == given["email"]
    assert answer["Subject"] == "Re: Wardrobe"
    await steps.delivered(team, sent)

    reply = mail(answer["Reply-To"], "Re: Wardrobe", "Thank you, by mail!")
    reply.replace_header("From", given["email"])
    await post(team, reply)
    by_mail = await team.desk.expect("message.created", lambda frame: "by mail" in frame["message"]["text"])
    assert by_mail["conversation_id"] == conversation["id"]
    assert by_mail["message"]["author"]["id"] == conversation["contact_id"], "the same person by mail"

    await steps.resolve(team, conversation["id"])
    receipt = await sink.expect(lambda found: "/f/" in text_of(found))
    await steps.confirm(team, steps.link_in(text_of(receipt)))


async def test_a_form_that_cannot_answer_says_so_before_anything_is_sent(team: Team) -> None:
    for other in (await team.server.api("GET", "/channels?type=email&active=true"))["items"]:
        await team.server.api("DELETE", f"/channels/{other['id']}")
    channel = await team.server.make_channel("form", {}, queue_id=team.queue_id)
    async with httpx.AsyncClient() as client:
        answer = await client.post(channel["webhook_url"], json=filled("Is anybody there?"))
    assert answer.status_code == 200
    assert answer.json()["status"] == "stored"
    conversation = await steps.take(team, "anybody there")
    assert conversation["answers"] == {"possible": False, "channel_id": None, "channel_type": None, "name": None}
    with pytest.raises(Refused) as refused:
        await steps.reply(team, conversation["id"], "Yes!")
    assert (refused.value.code, refused.value.frame["allowed"]) == ("no-reply-channel", ["note"])
    await team.desk.command("message.send", conversation_id=conversation["id"], kind="note", text="We ring them")
    await steps.resolve(team, conversation["id"])
    told = await team.desk.expect("message.created", lambda frame: frame["message"]["kind"] == "receipt")
    assert told["message"]["status"] == "failed"
    async with httpx.AsyncClient() as browser:
        progress = await browser.get(urlsplit(answer.json()["progress_url"]).geturl(), headers=HTML)
        assert progress.status_code == 200
        link = re.search(r'href="(http[^"]*/f/[^"]+)"', progress.text)
    assert link, "the receipt is reached by the progress page"
    await steps.confirm(team, link.group(1))


async def test_what_robots_send_is_thanked_for_and_can_be_restored(team: Team) -> None:
    channel = await team.server.make_channel("form", {}, queue_id=team.queue_id)
    good, bad = filled("A person wrote this."), filled("Cheap watches", reference_check="http://spam.example")
    async with httpx.AsyncClient() as client:
        honest = await client.post(channel["webhook_url"], data=good, headers=HTML)
        trapped = await client.post(channel["webhook_url"], data=bad, headers=HTML)
    assert honest.status_code == trapped.status_code == 303
    assert re.sub("t=[^&]*", "", honest.headers["location"]) == re.sub("t=[^&]*", "", trapped.headers["location"])
    path = f"/channels/{channel['id']}/trapped"
    [item] = (await team.server.api("GET", path))["items"]
    assert item["reason"] == "the hidden field was filled in"
    assert item["fields"]["message"] == "Cheap watches"
    await team.server.api("GET", path, token=team.agent["token"], expect=403)
    restored = await team.server.api("POST", f"{path}/{item['id']}/restore")
    told = await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "Cheap watches")
    assert told["conversation_id"] == restored["conversation_id"]
    assert (await team.server.api("GET", path))["items"] == []
    await team.server.api("POST", f"{path}/{item['id']}/restore", expect=409)


async def test_consent_is_kept_and_withdrawn(team: Team) -> None:
    channel = await team.server.make_channel("form", {}, queue_id=team.queue_id)
    async with httpx.AsyncClient() as client:
        without = filled("No consent")
        del without["consent"]
        refused = await client.post(channel["webhook_url"], json=without)
        assert (refused.status_code, refused.json()["field"]) == (422, "consent")
        await client.post(channel["webhook_url"], json=filled("With consent"))
    told = await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "With consent")
    contact_id = told["message"]["author"]["id"]
    [consent] = (await team.server.api("GET", f"/contacts/{contact_id}"))["consents"]
    assert consent["message_id"] == told["message"]["id"]
    assert (consent["purpose"], consent["version"], consent["withdrawn_at"]) == ("contact", "1", None)
    assert "I agree" in consent["text"]
    withdrawn = await team.server.api("POST", f"/contacts/{contact_id}/consents/{consent['id']}/withdraw")
    assert withdrawn["withdrawn_at"] is not None
    [listed] = (await team.server.api("GET", f"/contacts/{contact_id}/consents"))["items"]
    assert listed == withdrawn
