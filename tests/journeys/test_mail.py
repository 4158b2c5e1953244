"""A customer writes a mail, answers ours, and gets the receipt by mail."""

from __future__ import annotations

import secrets
from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.providers import MailSink


def mail(to: str, subject: str, text: str, **headers: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = "Grace Hopper <grace@customer.example>"
    made["To"] = to
    made["Subject"] = subject
    made["Message-ID"] = f"<{secrets.token_hex(8)}@customer.example>"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


async def post(team: Team, message: EmailMessage) -> None:
    await aiosmtplib.send(message, hostname="127.0.0.1", port=team.server.smtp_port)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    sink = await MailSink().start()
    address = f"care-{secrets.token_hex(3)}@shop.example"
    config = {"address": address, "smtp_url": f"smtp://127.0.0.1:{sink.port}"}
    await team.server.make_channel("email", config, queue_id=team.queue_id)
    first = mail(address, "Wardrobe", "The wardrobe wobbles.")
    first.add_attachment(b"\x89PNG\r\n\x1a\nnot really", maintype="image", subtype="png", filename="wobble.png")
    await post(team, first)
    conversation = await steps.take(team, "wobbles")
    sent = await steps.reply(team, conversation["id"], "Please tighten the screws.")
    answer = await sink.expect(lambda found: "tighten" in text_of(found))
    assert answer["In-Reply-To"] == first["Message-ID"]
    assert answer["Subject"] == "Re: Wardrobe"
    await steps.delivered(team, sent)

    await post(team, mail(answer["Reply-To"], "Another subject", "By token: it still wobbles."))
    by_token = await team.desk.expect("message.created", lambda frame: "By token" in frame["message"]["text"])
    await post(team, mail(address, "Re: Wardrobe", "By reference: all good now.", In_Reply_To=answer["Message-ID"]))
    by_reference = await team.desk.expect("message.created", lambda frame: "By reference" in frame["message"]["text"])
    assert by_token["conversation_id"] == by_reference["conversation_id"] == conversation["id"]

    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    [attachment] = messages[0]["attachments"]
    assert attachment["name"] == "wobble.png"
    await steps.resolve(team, conversation["id"])
    receipt = await sink.expect(lambda found: "/f/" in text_of(found))
    await steps.confirm(team, steps.link_in(text_of(receipt)))
    await sink.stop()


async def test_an_address_that_is_not_ours_is_refused(team: Team) -> None:
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await post(team, mail("nobody@elsewhere.example", "Hello", "Who are you?"))
    assert refused.value.recipients[0].code == 550
