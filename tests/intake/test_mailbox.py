"""The SMTP port, with a real client: which mails it takes, and that 250 means stored."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from uuid import UUID

import aiosmtplib
import pytest

from app.catalog import Catalog, ChannelAccount
from app.channels.base import Parsed
from app.channels.config import WebchatConfig
from app.channels.mail_config import MailConfig
from app.channels.registry import ADAPTERS
from app.errors import TooLarge, Unavailable
from app.intake.mailbox import Mailbox
from app.settings import Settings

HELP, SALES, CHAT = UUID(int=1), UUID(int=2), UUID(int=3)
MAIL = b"From: ana@home.example\r\nTo: help@shop.example\r\nSubject: Sofa\r\nMessage-ID: <1@home.example>\r\n\r\nIt broke.\r\n"


def account(number: UUID, address: str | None) -> ChannelAccount:
    config = MailConfig(address=address) if address else WebchatConfig()
    kind = "email" if address else "webchat"
    return ChannelAccount(number, kind, kind, None, ADAPTERS[kind], config)


class Set:
    """A catalog of two mail channels and a chat."""

    def __init__(self) -> None:
        self.channels = {
            HELP: account(HELP, "help@shop.example"),
            SALES: account(SALES, "sales@other.example"),
            CHAT: account(CHAT, None),
        }
        self.broken = False

    async def newest(self) -> Catalog:
        return await self.current()

    async def current(self) -> Catalog:
        if self.broken:
            raise ConnectionError("the database is away")
        return Catalog(1, self.channels, [], {}, [], [])


@dataclass
class Taken:
    """One call of `store`."""

    channel_id: UUID
    transport: str
    headers: Mapping[str, str]
    body: bytes
    parsed: Parsed


@dataclass
class Intake:
    """Keeps what it is given; `during` runs first, to fail or to wait."""

    during: Callable[[], Awaitable[None]] | None = None
    taken: list[Taken] = field(default_factory=list)

    async def store(
        self, account: ChannelAccount, *, transport: str, headers: Mapping[str, str], body: bytes, parsed: Parsed
    ) -> list[object]:
        if self.during is not None:
            await self.during()
        self.taken.append(Taken(account.id, transport, headers, body, parsed))
        return []


@asynccontextmanager
async def mailbox(intake: Intake, catalog: Set | None = None) -> AsyncIterator[int]:
    box = Mailbox(Settings(mail_limit=100_000), catalog or Set(), intake)
    port = await box.start(host="127.0.0.1", port=0)
    try:
        yield port
    finally:
        await box.stop()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[aiosmtplib.SMTP]:
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=10)
    async with smtp:
        yield smtp


async def deliver(port: int, *recipients: str, mail: bytes = MAIL, sender: str = "ana@home.example") -> str:
    async with client(port) as smtp:
        _, answer = await smtp.sendmail(sender, list(recipients), mail)
        return answer


async def test_a_mail_is_stored_and_then_acknowledged() -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        assert await deliver(port, "help@shop.example") == "2.0.0 stored"
    (taken,) = intake.taken
    assert (taken.channel_id, taken.transport, taken.body) == (HELP, "smtp", MAIL)
    assert taken.headers["x-envelope-from"] == "ana@home.example"
    assert taken.headers["x-envelope-to"] == "help@shop.example"
    assert taken.headers["x-peer"] == "127.0.0.1"
    (message,) = taken.parsed.messages
    assert (message.text, message.subject, message.sender.value) == ("It broke.", "Sofa", "ana@home.example")


async def test_the_acknowledgement_waits_for_the_commit() -> None:
    commit = asyncio.Event()
    reached = asyncio.Event()

    async def during() -> None:
        reached.set()
        await commit.wait()

    async with mailbox(Intake(during)) as port:
        sending = asyncio.create_task(deliver(port, "help@shop.example"))
        await reached.wait()
        answered, _ = await asyncio.wait([sending], timeout=0.3)
        assert not answered
        commit.set()
        assert await sending == "2.0.0 stored"


@pytest.mark.parametrize("address", ["HELP@Shop.example", "help+abc234@shop.example", "reply+abc234@shop.example"])
async def test_ways_to_write_our_address(address: str) -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        await deliver(port, address)
    (taken,) = intake.taken
    assert taken.channel_id == HELP
    assert list(taken.parsed.messages[0].threading.reply_tokens) == (["abc234"] if "+" in address else [])


@pytest.mark.parametrize(
    "address", ["nobody@shop.example", "help@other.example", "reply@shop.example", "reply+x@third.example", "help"]
)
async def test_an_unknown_address_is_refused(address: str) -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as error:
            await deliver(port, address)
    assert error.value.recipients[0].code == 550
    assert error.value.recipients[0].message.startswith("5.1.1")
    assert intake.taken == []


async def test_a_mail_to_several_of_ours_reaches_each_once() -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        await deliver(port, "sales@other.example", "help@shop.example", "help+abc@shop.example")
    assert [taken.channel_id for taken in intake.taken] == [SALES, HELP]
    assert list(intake.taken[1].parsed.messages[0].threading.reply_tokens) == ["abc"]


async def test_bounces_have_an_empty_sender() -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        await deliver(port, "help@shop.example", sender="")
    (taken,) = intake.taken
    assert taken.headers["x-envelope-from"] == ""
    assert taken.parsed.messages[0].automatic


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable(), 451),
        (RuntimeError("a bug"), 451),
        (ConnectionError(), 451),
        (TooLarge("an attachment is too large"), 552),
    ],
)
async def test_a_failure_of_ours_is_not_acknowledged(error: Exception, code: int) -> None:
    async def during() -> None:
        raise error

    async with mailbox(Intake(during)) as port:
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await deliver(port, "help@shop.example")
    assert refused.value.code == code


async def test_after_a_failure_the_same_connection_goes_on() -> None:
    fail = [True]

    async def during() -> None:
        if fail.pop() if fail else False:
            raise Unavailable()

    intake = Intake(during)
    async with mailbox(intake) as port, client(port) as smtp:
        with pytest.raises(aiosmtplib.SMTPDataError):
            await smtp.sendmail("ana@home.example", ["help@shop.example"], MAIL)
        await smtp.sendmail("ana@home.example", ["help@shop.example"], MAIL)
        await smtp.sendmail("ana@home.example", ["sales@other.example"], MAIL)
    assert [taken.channel_id for taken in intake.taken] == [HELP, SALES]


async def test_a_catalog_that_cannot_be_read_is_our_failure() -> None:
    catalog = Set()
    catalog.broken = True
    async with mailbox(Intake(), catalog) as port:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as error:
            await deliver(port, "help@shop.example")
    assert error.value.recipients[0].code == 451


async def test_a_channel_that_goes_while_the_mail_comes() -> None:
    catalog = Set()
    async with mailbox(Intake(), catalog) as port, client(port) as smtp:
        await smtp.mail("ana@home.example")
        await smtp.rcpt("help@shop.example")
        del catalog.channels[HELP]
        with pytest.raises(aiosmtplib.SMTPDataError) as error:
            await smtp.data(MAIL)
    assert error.value.code == 451


async def test_a_mail_over_the_limit_is_refused() -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        with pytest.raises(aiosmtplib.SMTPResponseException) as announced:
            await deliver(port, "help@shop.example", mail=MAIL + b"x" * 100_000)
        async with client(port) as smtp:
            await smtp.mail("ana@home.example")
            await smtp.rcpt("help@shop.example")
            with pytest.raises(aiosmtplib.SMTPDataError) as unannounced:
                await smtp.data(MAIL + b"line\r\n" * 20_000)
    assert (announced.value.code, unannounced.value.code) == (552, 552)
    assert intake.taken == []


async def test_a_mail_that_cannot_be_read_is_kept() -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        answer = await deliver(port, "help@shop.example", mail=b"Content-Type: message/rfc822\r\n\r\n" * 3_000)
    assert answer == "2.0.0 stored"
    (taken,) = intake.taken
    assert taken.parsed.messages == ()
    assert "cannot be parsed" in taken.parsed.errors[0]


async def test_long_lines_and_any_bytes_come_through() -> None:
    body = MAIL + b"x" * 60_000 + b"\r\n..dot\r\n" + bytes(range(1, 10)) + bytes(range(14, 256)) + b"\r\n"
    intake = Intake()
    async with mailbox(intake) as port:
        await deliver(port, "help@shop.example", mail=body)
    assert intake.taken[0].body == body


async def test_international_addresses() -> None:
    catalog = Set()
    catalog.channels = {HELP: account(HELP, "帮助@shop.example")}
    intake = Intake()
    mail = EmailMessage()
    mail["From"], mail["To"] = "jörg@home.example", "帮助@shop.example"
    mail.set_content("你好")
    async with mailbox(intake, catalog) as port, client(port) as smtp:
        await smtp.send_message(mail)
    assert intake.taken[0].parsed.messages[0].sender.value == "jörg@home.example"


async def test_many_at_once() -> None:
    intake = Intake()
    async with mailbox(intake) as port:
        mails = [MAIL.replace(b"<1@", b"<%d@" % number) for number in range(40)]
        await asyncio.gather(*(deliver(port, "help@shop.example", mail=mail) for mail in mails))
    assert len({taken.parsed.messages[0].external_id for taken in intake.taken}) == 40


async def test_a_client_that_hangs_up_does_not_tear_the_store() -> None:
    reached, go_on, stored = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def during() -> None:
        reached.set()
        await go_on.wait()
        stored.set()

    intake = Intake(during)
    async with mailbox(intake) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [b"EHLO x", b"MAIL FROM:<ana@home.example>", b"RCPT TO:<help@shop.example>", b"DATA"]
        for line in lines:
            writer.write(line + b"\r\n")
        writer.write(MAIL + b".\r\n")
        await reached.wait()
        writer.transport.abort()
        await reader.read()
        go_on.set()
        await asyncio.wait_for(stored.wait(), 10)
    assert len(intake.taken) == 1


async def test_stopping_finishes_what_is_being_stored() -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def during() -> None:
        reached.set()
        await go_on.wait()

    intake = Intake(during)
    box = Mailbox(Settings(), Set(), intake)
    port = await box.start(host="127.0.0.1", port=0)
    sending = asyncio.create_task(deliver(port, "help@shop.example"))
    await reached.wait()
    stopping = asyncio.create_task(box.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    await stopping
    assert len(intake.taken) == 1
    await asyncio.wait([sending])
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", port)
    assert sending.exception() is None
    assert sending.result() == "2.0.0 stored"
