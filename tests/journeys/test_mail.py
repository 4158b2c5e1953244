"""A customer writes a mail, answers ours, and gets the receipt by mail."""

from __future__ import annotations

import secrets
from email.message import EmailMessage

import aiosmtplib
import httpx
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


async def test_from_the_first_message_to_the_confirmation(team: Team, sink: MailSink) -> None:
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


async def test_an_address_that_is_not_ours_is_refused(team: Team) -> None:
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await post(team, mail("nobody@elsewhere.example", "Hello", "Who are you?"))
    assert refused.value.recipients[0].code == 550


HTML = (
    '<p onclick="steal()">It <b>wobbles</b>.</p><img src="cid:photo@x"><img src="https://tracker.example/pixel.gif">'
    "<script>steal()</script>"
)


async def test_what_a_mail_is_besides_its_words_and_its_html_made_safe(team: Team) -> None:
    address = f"care-{secrets.token_hex(3)}@shop.example"
    await team.server.make_channel(
        "email", {"address": address, "trusted_servers": ["mx.shop.example"]}, queue_id=team.queue_id
    )
    results = "mx.shop.example; spf=fail; dmarc=fail header.from=customer.example"
    first = mail(address, "Wardrobe", "It wobbles.", Cc="bo@customer.example", Authentication_Results=results)
    first.add_alternative(HTML, subtype="html")
    page = first.get_payload()[1]  # type: ignore[index]
    page.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<photo@x>")  # type: ignore[union-attr]
    await post(team, first)
    conversation = await steps.take(team, "wobbles")
    here = f"/conversations/{conversation['id']}/messages/1"
    facts = await team.server.api("GET", f"{here}/mail")
    assert facts["cc"] == [{"email": "bo@customer.example", "name": None}]
    assert (facts["authentication"]["verdict"], facts["threading"]["rule"]) == ("unverified", "new")
    async with httpx.AsyncClient() as browser:
        url = team.server.base + facts["html_url"]
        assert (await browser.get(url)).status_code == 401
        answer = await browser.get(url, headers={"Authorization": f"Bearer {team.server.admin}"})
    assert (answer.status_code, answer.headers["X-Blocked-Remote"]) == (200, "1")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert '<p>It <b>wobbles</b>.</p><img src="data:image/png;base64,iVBORw==">' in answer.text
    assert "steal" not in answer.text
    assert "tracker" not in answer.text


async def test_our_mail_comes_back(team: Team, sink: MailSink) -> None:
    """The agent sees that it failed and why; nothing is opened, and the vacation notice that follows moves nothing."""
    address = f"care-{secrets.token_hex(3)}@shop.example"
    config = {"address": address, "smtp_url": f"smtp://127.0.0.1:{sink.port}"}
    await team.server.make_channel("email", config, queue_id=team.queue_id)
    await post(team, mail(address, "Wardrobe", "The wardrobe squeaks."))
    conversation = await steps.take(team, "squeaks")
    sent = await steps.reply(team, conversation["id"], "Please oil it.")
    answer = await sink.expect(lambda found: "oil" in text_of(found))
    await steps.delivered(team, sent)
    bounce = (
        f"From: MAILER-DAEMON@customer.example\r\nTo: {address}\r\nSubject: Undelivered Mail\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        "Final-Recipient: rfc822; grace@customer.example\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        "Diagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {answer['Message-ID']}\r\n\r\n--b--\r\n"
    )
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=team.server.smtp_port) as client:
        await client.sendmail("", [address], bounce.encode())
    failed = await team.desk.expect(
        "message.status",
        lambda frame: frame["message_id"] == sent["message_id"] and frame["status"] == "failed",
    )
    assert "the mailbox is full" in failed["error"]
    away = mail(
        address, "Automatic reply", "I am away.", In_Reply_To=answer["Message-ID"], Auto_Submitted="auto-replied"
    )
    await post(team, away)
    notice = await team.desk.expect("message.created", lambda frame: "away" in frame["message"]["text"])
    assert notice["conversation_id"] == conversation["id"]
