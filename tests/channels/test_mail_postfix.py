"""Mails sent to a real Postfix: what it offers, what it refuses, and what comes back from it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.channels import mail_parse
from app.channels.base import OutboundFile, SendError, SendFailure, Sent
from app.channels.mail import MailAdapter
from app.channels.mail_config import MailConfig
from tests.channels.makers import MESSAGE_ID, outgoing
from tests.support.mailservers import Dovecot, Postfix, require

ADAPTER = MailAdapter()
CARE = "care@shop.example"
BOUNCES = "bounces@shop.example"


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    require("dovecot", "postfix")
    server = Dovecot().start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def postfix(dovecot: Dovecot) -> Iterator[Postfix]:
    server = Postfix(dovecot).start()
    yield server
    server.stop()


def config(postfix: Postfix, *, login: bool = True, more: str = "?starttls=never", **changed: Any) -> MailConfig:
    url = postfix.url(CARE if login else "", more=more)
    return MailConfig.model_validate({"address": CARE, "smtp_url": url, **changed})


async def send(chosen: MailConfig, to: str, **changed: Any) -> Sent:
    async with httpx.AsyncClient() as http:
        return await ADAPTER.send(chosen, outgoing(address={"email": to}, **changed), http)


async def failure(chosen: MailConfig, to: str, **changed: Any) -> SendError:
    with pytest.raises(SendError) as error:
        await send(chosen, to, **changed)
    return error.value


async def arrived(dovecot: Dovecot, user: str, words: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            for mail in await asyncio.to_thread(dovecot.mails, user):
                if words in mail.as_string():
                    return mail
            await asyncio.sleep(0.1)


async def test_sent_with_a_login(postfix: Postfix, dovecot: Dovecot) -> None:
    sent = await send(config(postfix), "grace@customer.example", text="A first mail")
    mail = await arrived(dovecot, "grace@customer.example", "A first mail")
    assert mail["Message-ID"] == sent.thread_key


async def test_encrypted(postfix: Postfix, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config(postfix, more="?starttls=always")
    assert (await failure(chosen, "grace@customer.example")).failure is SendFailure.RETRY
    monkeypatch.setenv("SSL_CERT_FILE", str(postfix.home / "cert.pem"))
    await send(chosen, "grace@customer.example", text="A sealed mail")
    await arrived(dovecot, "grace@customer.example", "A sealed mail")


async def test_addresses_outside_ascii(postfix: Postfix, dovecot: Dovecot) -> None:
    await send(config(postfix), "jörg@customer.example", text="Dovecot's LMTP takes no such name, Postfix does")
    await send(config(postfix), "ida@bücher.example", text="A domain with an u")
    await arrived(dovecot, "ida@xn--bcher-kva.example", "A domain with an u")


async def test_refused(postfix: Postfix) -> None:
    assert (await failure(config(postfix), "nobody@customer.example")).failure is SendFailure.RECIPIENT
    large = OutboundFile("a.bin", "application/octet-stream", b"x" * 300_000)
    too_large = await failure(config(postfix), "grace@customer.example", files=[large])
    assert (too_large.failure, "takes 200000" in too_large.detail) == (SendFailure.PERMANENT, True)
    wrong = config(postfix)
    url = postfix.url(CARE, password="wrong", more="?starttls=never")
    wrong = MailConfig.model_validate({"address": CARE, "smtp_url": url})
    assert (await failure(wrong, "grace@customer.example")).failure is SendFailure.REAUTH
    async with httpx.AsyncClient() as http:
        await ADAPTER.check(config(postfix), http)
        with pytest.raises(SendError) as error:
            await ADAPTER.check(wrong, http)
    assert error.value.failure is SendFailure.REAUTH


async def test_a_report_comes_back_to_the_message(postfix: Postfix, dovecot: Dovecot) -> None:
    """A real server takes the mail and finds out later: its report names our message, and who is not there any more."""
    chosen = config(postfix, bounce_address=BOUNCES)
    sent = await send(chosen, "gone@customer.example", text="Tell me when it is there")
    report = await arrived(dovecot, BOUNCES, MESSAGE_ID.hex)
    parsed = mail_parse.parse(report.as_bytes(), chosen, envelope_from="")
    assert parsed.messages == ()
    assert {(one.status, one.our_id, one.provider_message_id) for one in parsed.statuses} == {
        ("failed", str(MESSAGE_ID), sent.provider_message_id)
    }
    assert [one.sender.value for one in parsed.refusals] == ["gone@customer.example"]
