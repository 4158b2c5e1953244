"""A customer hears at once that their mail came, sees where it stands, and writes on the page: two processes, one answer."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from tests.conftest import sibling
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.test_mail import mail, post, text_of
from tests.support.providers import MailSink
from tests.support.server import Server, free_port

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def server(cluster_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two processes that tell customers what happens."""
    name = f"progress_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f'CREATE DATABASE "{name}"'))
    home: Path = tmp_path_factory.mktemp("progress")
    environment = {"ROUNDTRIP_ANNOUNCEMENTS": "true", "ROUNDTRIP_OFFER_AGAIN_S": "2"}
    live = Server(sibling(cluster_url, name), home, smtp_port=free_port(), workers=2, environment=environment)
    try:
        asyncio.run(live.start())
        yield live
    finally:
        code = asyncio.run(live.stop())
    assert code == 0
    asyncio.run(run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def page_in(message: EmailMessage) -> str:
    found = re.search(r"https?://\S+/c/[\w-]+", text_of(message))
    assert found, text_of(message)
    return urlsplit(found.group(0)).path


async def test_from_the_acknowledgement_to_a_message_on_the_page(team: Team, sink: MailSink) -> None:
    address = f"care-{secrets.token_hex(3)}@shop.example"
    config = {"address": address, "smtp_url": f"smtp://127.0.0.1:{sink.port}"}
    await team.server.make_channel("email", config, queue_id=team.queue_id)
    first = mail(address, "Wardrobe", "The wardrobe wobbles.")
    await post(team, first)
    told = await sink.expect(lambda found: "/c/" in text_of(found))
    assert told["Subject"] == "Re: Wardrobe"
    assert told["In-Reply-To"] == first["Message-ID"]
    assert told["Auto-Submitted"] == "auto-generated"
    assert "we have received your message" in text_of(told)
    path = page_in(told)

    conversation = await steps.take(team, "wobbles")
    async with httpx.AsyncClient(base_url=team.server.base, headers=HTML) as browser:
        page = await browser.get(path)
        assert "A colleague is working on it." in page.text
        hidden = re.search(r'name="id" value="(\w+)"', page.text)
        assert hidden
        sent = {"id": hidden.group(1), "text": "From the page: it wobbles more by the day."}
        twice = await asyncio.gather(*(browser.post(path, data=sent) for _ in range(2)))
        assert [answer.status_code for answer in twice] == [303, 303]
        shown = await browser.get(f"/c/{twice[0].headers['location']}")
        assert "We have received your message." in shown.text
        assert "wobbles more by the day" in shown.text
    heard = await team.desk.expect("message.created", lambda frame: "From the page" in frame["message"]["text"])
    assert heard["conversation_id"] == conversation["id"]
    assert heard["message"]["author"]["type"] == "contact"
    answer = await steps.reply(team, conversation["id"], "Please tighten the screws.")
    await sink.expect(lambda found: "tighten" in text_of(found))
    await steps.delivered(team, answer)
    await team.server.api("POST", f"/conversations/{conversation['id']}/hold", {})
    await steps.resolve(team, conversation["id"])
    receipt = await sink.expect(lambda found: "/f/" in text_of(found))
    await steps.confirm(team, steps.link_in(text_of(receipt)))
    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    assert [item["kind"] for item in messages] == ["message", "notice", "message", "reply", "receipt"]
    assert sum("/c/" in text_of(found) for found in sink.mails) == 1


async def test_a_vacation_notice_is_not_answered(team: Team, sink: MailSink) -> None:
    address = f"away-{secrets.token_hex(3)}@shop.example"
    config = {"address": address, "smtp_url": f"smtp://127.0.0.1:{sink.port}"}
    await team.server.make_channel("email", config, queue_id=team.queue_id)
    await post(team, mail(address, "Away", "I am on holiday.", Auto_Submitted="auto-replied"))
    await team.desk.expect("message.created", lambda frame: "on holiday" in frame["message"]["text"])
    tag = secrets.token_hex(3)
    written = mail(address, "Chair", f"By hand {tag}.")
    written.replace_header("From", f"{tag}@customer.example")
    await post(team, written)
    told = await sink.expect(lambda found: "/c/" in text_of(found))
    assert tag in str(told["To"])
    assert len(sink.mails) == 1, "the notice came first and was not answered"
