"""Mail through real servers: a customer writes by SMTP, the mailbox is watched by IMAP, the answer arrives in theirs."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import asyncpg
import httpx
import pytest

from tests.conftest import sibling
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.mailservers import PASSWORD, Dovecot, Postfix, require
from tests.support.server import Server

CUSTOMER, CARE = "grace@customer.example", "care@shop.example"


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


def mail(subject: str, text: str, **headers: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = f"Grace Hopper <{CUSTOMER}>", CARE, subject
    made["Message-ID"] = f"<{secrets.token_hex(8)}@customer.example>"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def until(found: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while not (value := await found()):
            await asyncio.sleep(0.05)
        return value


async def test_from_a_mailbox_into_a_mailbox(team: Team, dovecot: Dovecot, postfix: Postfix) -> None:
    config = {
        "address": CARE,
        "imap_url": dovecot.url(CARE),
        "smtp_url": postfix.url(CARE, more="?starttls=never"),
        "bounce_address": "bounces@shop.example",
        "copies_to": ["archive@shop.example", "nobody@shop.example"],
        "from_name": "Shop",
    }
    channel = await team.server.make_channel("email", config, queue_id=team.queue_id)
    first = mail("Wardrobe", "The wardrobe wobbles.")
    await aiosmtplib.send(first, hostname="127.0.0.1", port=postfix.port, start_tls=False)
    conversation = await steps.take(team, "wobbles")

    sent = await steps.reply(team, conversation["id"], "Please tighten the screws.")

    async def arrived() -> EmailMessage | None:
        found = await asyncio.to_thread(dovecot.mails, CUSTOMER)
        return next((one for one in found if "tighten" in text_of(one)), None)

    answer: EmailMessage = await until(arrived)
    assert answer["In-Reply-To"] == first["Message-ID"]
    assert answer["References"] == first["Message-ID"]
    assert answer["From"] == f"Shop <{CARE}>"
    assert answer["Message-ID"].endswith("@shop.example>")
    assert answer["Return-Path"].startswith("<bounces+b-")
    assert (answer["Auto-Submitted"], answer["Bcc"]) == (None, None)
    await steps.delivered(team, sent)
    archived = await asyncio.to_thread(dovecot.mails, "archive@shop.example")
    assert [one["Message-ID"] for one in archived] == [answer["Message-ID"]]

    reply = mail("Re: Wardrobe", "All good now.", In_Reply_To=answer["Message-ID"])
    del reply["To"]
    reply["To"] = answer["Reply-To"]
    await aiosmtplib.send(reply, hostname="127.0.0.1", port=postfix.port, start_tls=False)
    again = await team.desk.expect("message.created", lambda frame: "All good" in frame["message"]["text"])
    assert again["conversation_id"] == conversation["id"]
    shown = await team.server.api("GET", f"/channels/{channel['id']}/mailbox")
    assert (shown["state"], shown["parked"], shown["detail"]) == ("watching", 0, None)


async def test_parked_mails_are_listed_tried_and_discarded(team: Team, dovecot: Dovecot) -> None:
    user = f"care-{secrets.token_hex(3)}@shop.example"
    channel = await team.server.make_channel(
        "email", {"address": user, "imap_url": dovecot.url(user), "imap_since": "all"}
    )
    poison = b"Content-Type: message/rfc822\r\n\r\n" * 3_000
    await asyncio.to_thread(dovecot.append, user, poison)
    base = f"/channels/{channel['id']}/parked"

    async def listed() -> Any:
        return (await team.server.api("GET", base))["items"]

    [parked] = await until(listed)
    assert (parked["whole"], parked["size"], parked["state"]) == (True, len(poison), "parked")
    assert "cannot be parsed" in parked["reason"]
    headers = {"Authorization": f"Bearer {team.server.admin}"}
    async with httpx.AsyncClient(headers=headers) as client:
        raw = await client.get(f"{team.server.base}/api/v1{base}/{parked['id']}/raw")
    assert raw.content == poison
    refused = await team.server.api("POST", f"{base}/{parked['id']}/retry", {}, expect=409)
    assert "cannot be parsed" in refused["detail"]
    await team.server.api("GET", base, token=team.agent["token"], expect=403)
    settled = await team.server.api("POST", f"{base}/{parked['id']}/discard", {})
    assert settled["state"] == "discarded"
    assert (await team.server.api("GET", base))["items"] == []
    assert len((await team.server.api("GET", f"{base}?state=discarded"))["items"]) == 1


async def test_a_wrong_password_is_shown(team: Team, dovecot: Dovecot, postfix: Postfix) -> None:
    url = f"imap://{CARE.replace('@', '%40')}:wrong@127.0.0.1:{dovecot.imap_port}?starttls=never"
    channel = await team.server.make_channel("email", {"address": "x@shop.example", "imap_url": url})

    async def told() -> bool:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {team.server.admin}"}) as client:
            shown = await client.get(f"{team.server.base}/api/v1/channels/{channel['id']}/mailbox")
        return shown.status_code == 200 and shown.json()["state"] == "refused"

    await until(told)


@pytest.fixture
async def own_database(cluster_url: str) -> AsyncIterator[str]:
    name = f"imap_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(cluster_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    yield sibling(cluster_url, name)
    await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await connection.close()


@pytest.fixture
async def servers(own_database: str, tmp_path: Path, dovecot: Dovecot) -> AsyncIterator[list[Server]]:
    """Two server processes on one database, which trust the mail server's certificate."""
    more = {"ROUNDTRIP_IMAP_LEASE_S": "1", "SSL_CERT_FILE": str(dovecot.home / "cert.pem")}
    made = [Server(own_database, tmp_path, admin="administrator-of-two", environment=more) for _ in range(2)]
    try:
        for server in made:
            await server.start()
        yield made
    finally:
        codes = [await server.stop() for server in made if server.process is not None]
    assert codes == [0, 0]


async def test_kill_in_the_middle_of_a_batch(own_database: str, servers: list[Server], dovecot: Dovecot) -> None:
    """Two processes and one mailbox; whoever reads is killed, one after the other. Nothing is lost, nothing comes twice."""
    user = f"care-{secrets.token_hex(3)}@shop.example"
    url = dovecot.url(user, more="?starttls=always")
    config = {"address": user, "imap_url": url, "imap_since": "all", "imap_batch": 10}
    mails = [
        f"From: {CUSTOMER}\r\nMessage-ID: <{number}.{user}>\r\n\r\nmail {number:03}\r\n".encode()
        for number in range(150)
    ]
    await asyncio.to_thread(dovecot.deliver, user, *mails[:100])
    channel = await servers[0].make_channel("email", config)
    connection = await asyncpg.connect(own_database)

    async def texts() -> list[str]:
        rows = await connection.fetch("SELECT text FROM message WHERE direction = 'inbound' ORDER BY seq")
        return [row["text"] for row in rows]

    async def several(least: int) -> bool:
        return len(await texts()) >= least

    try:
        await until(lambda: several(5))
        for server in servers:
            await server.kill()
            await server.start()
        await asyncio.to_thread(dovecot.deliver, user, *mails[100:])
        await until(lambda: several(150))
        assert sorted(await texts()) == [f"mail {number:03}" for number in range(150)]
        calls = await connection.fetch("SELECT status, count(*) FROM inbound_journal GROUP BY 1")
        assert {row["status"]: row["count"] for row in calls} == {"stored": 150}
    finally:
        await connection.close()
    shown = await servers[1].api("GET", f"/channels/{channel['id']}/mailbox")
    assert shown["parked"] == 0


def signed(key: str, fields: dict[str, str]) -> dict[str, str]:
    timestamp, token = str(int(time.time())), secrets.token_hex(25)
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    return {**fields, "timestamp": timestamp, "token": token, "signature": signature}


async def test_mailgun_calls(team: Team) -> None:
    """The same call fifty times at once is one message; its token with another mail is a forgery; too large is a 406."""
    key = secrets.token_hex(16)
    config = {"address": "gun@shop.example", "inbound": "mailgun", "mailgun_signing_key": key}
    channel = await team.server.make_channel("email", config, queue_id=team.queue_id)
    url = f"{team.server.base}/channels/{channel['id']}/webhook"
    fields = signed(
        key, {"recipient": "gun@shop.example", "sender": CUSTOMER, "body-mime": mail("Gun", "Fifty").as_string()}
    )
    async with httpx.AsyncClient(timeout=60) as client:
        answers = await asyncio.gather(*(client.post(url, data=fields) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        other = {**fields, "body-mime": mail("Gun", "Forged").as_string()}
        assert (await client.post(url, data=other)).status_code == 401
        flipped = {**fields, "signature": fields["signature"][::-1]}
        assert (await client.post(url, data=flipped)).status_code == 401
        assert (await client.post(url, content=b"x" * 76_000_000)).status_code == 406
    conversation = await steps.take(team, "Fifty")
    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    assert [item["text"] for item in messages if item["direction"] == "inbound"] == ["Fifty"]
    assert PASSWORD not in team.server.log.read_text()
    assert key not in team.server.log.read_text()
