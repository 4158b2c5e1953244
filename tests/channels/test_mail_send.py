"""Mail, sent: what is in it, and what each answer of a mail server means."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import httpx
import pytest

from app.channels import mail_compose
from app.channels.base import OutboundFile, SendError, SendFailure, Sent
from app.channels.mail import MailAdapter, envelope_headers
from app.channels.mail_config import MailConfig
from app.channels.mail_envelope import bounced_message, envelope_sender
from app.channels.mail_parse import parse_mail
from app.channels.mail_send import server_of
from app.errors import NotGenuine
from tests.channels.makers import CONVERSATION_ID, MESSAGE_ID, call, outgoing

ADAPTER = MailAdapter()
LOGIN_VERBS, NO_LOGIN = ("MAIL", "RCPT"), (530, 534, 535, 538)
TOKEN = "b" * 42


def config(**changed: Any) -> MailConfig:
    return MailConfig.model_validate({"address": "help@shop.example", "from_name": "Shop 帮助", **changed})


def composed(to: str = "ana@home.example", **changed: Any) -> EmailMessage:
    raw = mail_compose.compose(config(), outgoing(**changed), to=to).as_bytes()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    return BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)


def test_headers_thread() -> None:
    mail = composed(
        subject="Sofa",
        references=["<a@x>", "<b@x>", "bad", "<in jected@x>"],
        reply_token=TOKEN,
        recipient_name="Ana Ng",
    )
    own_id = f"<{MESSAGE_ID.hex}.{CONVERSATION_ID.hex}@shop.example>"
    assert mail["message-id"] == own_id
    assert (mail["in-reply-to"], mail["references"]) == ("<b@x>", "<a@x> <b@x>")
    assert mail["from"] == "Shop 帮助 <help@shop.example>"
    assert mail["to"] == "Ana Ng <ana@home.example>"
    assert mail["reply-to"].addresses[0].addr_spec == f"help+{TOKEN}@shop.example"
    assert mail["subject"] == "Re: Sofa"
    assert mail["auto-submitted"] is None


def test_a_long_chain_keeps_its_beginning_and_its_end() -> None:
    mail = composed(references=[f"<{n}@x>" for n in range(50)])
    kept = mail["references"].split()
    assert (len(kept), kept[0], kept[1], kept[-1]) == (20, "<0@x>", "<31@x>", "<49@x>")


def test_long_ids_go_out_as_they_are() -> None:
    """Encoded as words of a text, as the library does it with those of more than 76 characters, they would match nothing."""
    ids = [f"<{letter * 80}.{letter * 100}@mail.customer.example>" for letter in "abc"]
    raw = mail_compose.compose(config(), outgoing(references=ids), to="ana@home.example").as_bytes()
    assert f"In-Reply-To: {ids[-1]}\r\n".encode() in raw
    assert f"References: {ids[0]}\r\n {ids[1]}\r\n {ids[2]}\r\n".encode() in raw


def test_a_receipt_says_that_a_machine_wrote_it() -> None:
    mail = composed(kind="receipt")
    assert (mail["auto-submitted"], mail["x-auto-response-suppress"]) == ("auto-generated", "All")
    assert mail["x-loop"] == mail["from"].addresses[0].addr_spec
    assert parse_mail(mail.as_bytes(), address="ana@home.example").automatic


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (None, "Re: your message"),
        ("RE: x", "RE: x"),
        ("回复：沙发", "回复：沙发"),
        ("Return", "Re: Return"),
        ("a\r\nBcc: b", "Re: a Bcc: b"),
    ],
)
def test_subjects(subject: str | None, expected: str) -> None:
    assert composed(subject=subject)["subject"] == expected


@pytest.mark.parametrize("kind", ["receipt", "notice"])
def test_what_we_begin_is_no_answer_by_its_subject(kind: str) -> None:
    mail = composed(kind=kind, subject="Is it solved? My sofa", references=["<a@x>"])
    assert (mail["subject"], mail["in-reply-to"]) == ("Is it solved? My sofa", "<a@x>")
    assert composed(kind=kind, subject="Re: Sofa")["subject"] == "Re: Sofa"


def test_nothing_can_be_injected() -> None:
    mail = composed(
        subject="x\r\nBcc: evil@x.example\r\n\r\nbody",
        recipient_name='a"\r\nBcc: evil@x.example',
        text="\r\n.\r\n\0",
        references=["<a@x>\r\nBcc: evil@x.example"],
    )
    assert mail["bcc"] is None
    assert [address.addr_spec for address in mail["to"].addresses] == ["ana@home.example"]


def test_text_and_html_say_the_same() -> None:
    text = "Hello 王芳,\nsee https://desk.example/f/abc?d=1&e=2.\n\n<b>Bye</b>"
    mail = composed(text=text)
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    assert plain.get_content().replace("\r\n", "\n").strip() == text
    source = page.get_content()
    assert '<a href="https://desk.example/f/abc?d=1&amp;e=2">https://desk.example/f/abc?d=1&amp;e=2</a>.' in source
    assert "&lt;b&gt;Bye&lt;/b&gt;" in source


def test_files_go_along() -> None:
    mail = composed(
        files=[OutboundFile("账单.pdf", "application/pdf", b"%PDF"), OutboundFile("m.eml", "message/rfc822", b"x")]
    )
    assert [(part.get_filename(), part.get_content_type()) for part in mail.iter_attachments()] == [
        ("账单.pdf", "application/pdf"),
        ("m.eml", "application/octet-stream"),
    ]


def test_a_retry_is_the_same_mail() -> None:
    assert mail_compose.message_id(config(), outgoing(attempt=1)) == mail_compose.message_id(
        config(), outgoing(attempt=9)
    )


def test_addresses_outside_ascii() -> None:
    raw = mail_compose.compose(config(), outgoing(), to="jörg@bücher.example").as_bytes()
    assert "jörg@xn--bcher-kva.example".encode() in raw
    raw = mail_compose.compose(config(), outgoing(), to="j@bücher.example").as_bytes()
    assert raw.isascii()


def test_a_long_local_part_leaves_no_room_for_the_token() -> None:
    long = config(address="customer.service.department@shop.example")
    mail = mail_compose.compose(long, outgoing(reply_token=TOKEN), to="a@b.example")
    assert mail["reply-to"].addresses[0].addr_spec == f"reply+{TOKEN}@shop.example"


def test_what_we_send_finds_its_way_back() -> None:
    """The answer of a mail program to our mail: our token in To, our Message-ID in In-Reply-To, our words quoted."""
    sent = composed(reply_token=TOKEN)
    raw = (
        f"From: ana@home.example\r\nTo: {sent['reply-to']}\r\nIn-Reply-To: {sent['message-id']}\r\n\r\nThanks!\r\n\r\n"
        "On Sun, Nov 22, 2026 at 9:00 AM Shop <help@shop.example> wrote:\r\n> We have found it.\r\n"
    )
    back = parse_mail(raw.encode(), address="help@shop.example")
    assert back.threading.reply_tokens == [TOKEN]
    assert back.threading.references == [sent["message-id"]]
    assert back.text == "Thanks!"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mx", ("mx", 25, False, None, None)),
        ("smtp://u%40x:p%3a@mx", ("mx", 587, False, None, "p:")),
        ("smtp://mx:2525?starttls=always", ("mx", 2525, False, True, None)),
        ("smtp://mx?starttls=never", ("mx", 25, False, False, None)),
        ("smtps://u:p@[::1]", ("::1", 465, True, False, "p")),
    ],
)
def test_server_urls(url: str, expected: tuple[object, ...]) -> None:
    server = server_of(url)
    assert (server.host, server.port, server.tls, server.start_tls, server.password) == expected


class Server:
    """A mail server that follows a script: what it answers to a command, or `drop` to hang up."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.lines, self.mails = answers, list[str](), list[bytes]()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                await self.talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            command = line.decode().strip()
            self.lines.append(command)
            verb = command.split()[0].upper()
            if verb == "DATA" and "DATA" not in self.answers:
                writer.write(b"354 go on\r\n")
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                verb = "END"
            answer = self.answers.get(verb, "221 bye" if verb == "QUIT" else "250 ok")
            if answer == "drop":
                break
            writer.write(answer.encode() + b"\r\n")
            if verb == "QUIT":
                break

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        talks: list[asyncio.Task[None]] = []
        server = await asyncio.start_server(
            lambda *ends: talks.append(asyncio.create_task(self.accept(*ends))), "127.0.0.1", 0
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.gather(*talks)


async def send(server: Server | None, *, address: str = "ana@home.example", attempt: int = 1, login: str = "") -> Sent:
    async with httpx.AsyncClient() as http, (server or Server()).running() as port:
        chosen = config(smtp_url=f"smtp://{login}127.0.0.1:{port if server else 9}")
        return await ADAPTER.send(chosen, outgoing(address={"email": address}, attempt=attempt), http)


async def failure(server: Server | None, *, attempt: int = 1, login: str = "") -> SendError:
    with pytest.raises(SendError) as error:
        await send(server, attempt=attempt, login=login)
    return error.value


async def test_sending() -> None:
    server = Server()
    sent = await send(server)
    own_id = f"<{MESSAGE_ID.hex}.{CONVERSATION_ID.hex}@shop.example>"
    assert sent == Sent(provider_message_id=own_id, thread_key=own_id)
    assert any(re.match(r"MAIL FROM:<help@shop\.example>", line, re.IGNORECASE) for line in server.lines)
    assert any(re.match(r"RCPT TO:<ana@home\.example>", line, re.IGNORECASE) for line in server.lines)
    assert own_id.encode() in server.mails[0]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"RCPT": "550 5.1.1 no such user"}, SendFailure.RECIPIENT),
        ({"RCPT": "450 4.2.0 greylisted"}, SendFailure.RETRY),
        ({"RCPT": "552 5.2.2 mailbox full"}, SendFailure.RETRY),
        ({"MAIL": "451 4.3.0 later"}, SendFailure.RETRY),
        ({"MAIL": "553 5.1.8 not your address"}, SendFailure.PERMANENT),
        ({"END": "554 5.6.0 no"}, SendFailure.PERMANENT),
        ({"END": "550 5.7.1 too many mails"}, SendFailure.RETRY),
        ({"END": "421 4.3.0 later"}, SendFailure.RETRY),
        ({"DATA": "451 4.3.0 later"}, SendFailure.RETRY),
        ({"END": "drop"}, SendFailure.UNKNOWN),
        ({"END": "what?"}, SendFailure.UNKNOWN),
        *(({verb: f"{code} 5.7.0 log in first"}, SendFailure.REAUTH) for verb in LOGIN_VERBS for code in NO_LOGIN),
        ({"RCPT": "drop"}, SendFailure.RETRY),
        ({"EHLO": "drop"}, SendFailure.RETRY),
    ],
)
async def test_answers(answers: dict[str, str], expected: SendFailure) -> None:
    assert (await failure(Server(**answers))).failure is expected


async def test_what_passes_gets_one_more_chance_only() -> None:
    assert (await failure(Server(RCPT="552 5.2.2 mailbox full"), attempt=2)).failure is SendFailure.RECIPIENT
    assert (await failure(Server(END="550 5.7.1 policy"), attempt=2)).failure is SendFailure.PERMANENT


async def test_nobody_listens() -> None:
    assert (await failure(None)).failure is SendFailure.RETRY


async def test_wrong_password() -> None:
    server = Server(EHLO="250-here\r\n250 AUTH PLAIN", AUTH="535 5.7.8 wrong")
    error = await failure(server, login="user:hunter2@")
    assert error.failure is SendFailure.REAUTH
    assert "hunter2" not in error.detail


async def test_a_mail_that_was_taken_is_sent_even_if_the_goodbye_fails() -> None:
    assert (await send(Server(QUIT="drop"))).thread_key is not None


async def test_without_a_server_or_an_address() -> None:
    async with httpx.AsyncClient() as http:
        for chosen, address, expected in (
            (config(), {"email": "a@b.example"}, SendFailure.CONFIG),
            (config(smtp_url="smtp://127.0.0.1:9"), {}, SendFailure.RECIPIENT),
            (config(smtp_url="smtp://127.0.0.1:9"), {"email": "unknown"}, SendFailure.RECIPIENT),
            (config(smtp_url="smtp://127.0.0.1:9"), {"email": "a b@c@\r\nd.example"}, SendFailure.RECIPIENT),
        ):
            with pytest.raises(SendError) as error:
                await ADAPTER.send(chosen, outgoing(address=address), http)
            assert error.value.failure is expected


def test_no_webhook_is_a_mail() -> None:
    with pytest.raises(NotGenuine):
        ADAPTER.verify(config(), call(b""))


def test_a_journalled_mail_can_be_read_again() -> None:
    headers = envelope_headers("", ["help+abc@shop.example", "x@y.example"])
    (message,) = ADAPTER.parse(config(), call(b"From: a@b.example\r\n\r\nhello", headers)).messages
    assert (message.text, message.threading.reply_tokens, message.automatic) == ("hello", ["abc"], True)


FULL = "250-here\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8"


async def send_as(server: Server, *, address: Any = "ana@home.example", cc: Any = None, **changed: Any) -> Sent:
    async with httpx.AsyncClient() as http, server.running() as port:
        chosen = config(smtp_url=f"smtp://127.0.0.1:{port}", **changed)
        return await ADAPTER.send(chosen, outgoing(address={"email": address, "cc": cc}), http)


async def test_reports_are_asked_for_where_the_server_offers_them() -> None:
    server = Server(EHLO=FULL)
    await send_as(server, bounce_address="bounces@shop.example")
    mail_from, rcpt = (next(line for line in server.lines if line.startswith(verb)) for verb in ("MAIL", "RCPT"))
    assert mail_from.startswith(f"MAIL FROM:<bounces+b-{MESSAGE_ID.hex}@shop.example> ")
    assert f" RET=HDRS ENVID={MESSAGE_ID.hex}" in mail_from
    assert re.search(r" SIZE=\d+ BODY=8BITMIME", mail_from)
    assert rcpt == "RCPT TO:<ana@home.example> NOTIFY=FAILURE,DELAY"
    bare = Server()
    await send_as(bare)
    assert not any("NOTIFY" in line or "RET=" in line or "SIZE=" in line for line in bare.lines)


def test_the_bounce_address_leads_back() -> None:
    chosen = config(bounce_address="bounces@shop.example")
    sender = envelope_sender(chosen, MESSAGE_ID)
    assert bounced_message(chosen, ["x@y.example", f"<{sender.upper()}>"]) == MESSAGE_ID
    assert bounced_message(chosen, [sender.replace("@shop", "@other"), f"help+b-{MESSAGE_ID.hex}@shop.example"]) is None
    assert envelope_sender(config(), MESSAGE_ID) == "help@shop.example"


async def test_each_recipient_has_its_own_answer() -> None:
    class Picky(Server):
        async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await super().talk(_Judge(reader, self), writer)  # type: ignore[arg-type]

    class _Judge:
        """Looks at each command before the server does."""

        def __init__(self, reader: asyncio.StreamReader, server: Server) -> None:
            self._reader, self._server = reader, server

        async def readline(self) -> bytes:
            line = await self._reader.readline()
            self._server.answers["RCPT"] = "550 5.1.1 no such user" if b"gone@" in line else "250 ok"
            return line

        async def readuntil(self, end: bytes) -> bytes:
            return await self._reader.readuntil(end)

    server = Picky()
    sent = await send_as(server, cc=["gone@home.example", "bob@home.example"], copies_to=["archive@shop.example"])
    assert sent.detail == (
        "ana@home.example: accepted; gone@home.example: 550 5.1.1 no such user; "
        "bob@home.example: accepted; archive@shop.example: accepted"
    )
    assert b"Cc: gone@home.example, bob@home.example" in server.mails[0]
    assert b"archive@" not in server.mails[0]
    refusing = Picky()
    with pytest.raises(SendError) as error:
        await send_as(refusing, address="gone@home.example", copies_to=["archive@shop.example"])
    assert error.value.failure is SendFailure.RECIPIENT
    assert refusing.mails == []


async def test_what_the_server_cannot_take_is_not_offered() -> None:
    small = Server(EHLO="250-here\r\n250 SIZE 300")
    with pytest.raises(SendError, match="takes 300") as error:
        await send_as(small)
    assert error.value.failure is SendFailure.PERMANENT
    with pytest.raises(SendError, match="SMTPUTF8") as error:
        await send_as(Server(EHLO="250 here"), address="jörg@home.example")
    assert error.value.failure is SendFailure.RECIPIENT
    able = Server(EHLO=FULL)
    await send_as(able, address="jörg@home.example")
    assert any("SMTPUTF8" in line for line in able.lines)


async def test_who_stops_waiting_after_the_mail_does_not_know() -> None:
    class Mute(Server):
        async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.answers["END"] = "250-and so on"
            await super().talk(reader, writer)

    with pytest.raises(SendError) as error:
        async with asyncio.timeout(0.5):
            await send_as(Mute())
    assert error.value.failure is SendFailure.UNKNOWN


async def test_credentials_can_be_tried() -> None:
    async with httpx.AsyncClient() as http, Server().running() as port:
        await ADAPTER.check(config(smtp_url=f"smtp://127.0.0.1:{port}"), http)
        await ADAPTER.check(config(), http)
    wrong = Server(EHLO="250-here\r\n250 AUTH PLAIN", AUTH="535 5.7.8 wrong")
    async with httpx.AsyncClient() as http, wrong.running() as port:
        with pytest.raises(SendError, match="SMTP: ") as error:
            await ADAPTER.check(config(smtp_url=f"smtp://user:hunter2@127.0.0.1:{port}"), http)
    assert error.value.failure is SendFailure.REAUTH
    assert "hunter2" not in error.value.detail
