"""An IMAP connection to peers that do what no good server does: stop, lie, hang up, talk too much."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.base import SendError, SendFailure
from app.channels.mail import MailAdapter
from app.channels.mail_config import MailConfig
from app.channels.mail_imap import Imap
from app.channels.mail_imap_server import ImapError, ImapRefused, ImapServer, ImapSetup, server_of
from app.channels.mail_imap_tokens import Garbage, folder_name, number, pairs, quoted, tokens
from tests.support.tcp import Peer

Script = dict[str, bytes]
CAPABLE = b"* CAPABILITY IMAP4rev1 IDLE UIDPLUS\r\n"
GOOD: Script = {
    "CAPABILITY": CAPABLE,
    "SELECT": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 12] x\r\n",
    "IDLE": b"+ idling\r\n",
}


def peer(script: Script, *, greeting: bytes = b"* OK hello\r\n") -> Peer:
    """Answers each command (UID FETCH by FETCH) with its entry and OK; an entry that ends in a blank says everything itself."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        idle = b""
        while line := await reader.readline():
            words = line.split()
            if words[0] == b"DONE":
                writer.write(b"%s OK done\r\n" % idle)
                continue
            verb = (words[2] if words[1] == b"UID" else words[1]).decode().upper()
            if verb == "IDLE":
                idle = words[0]
            answer = {**GOOD, **script}.get(verb, b"")
            if answer == b"drop":
                return
            own = answer.endswith(b" ") or verb == "IDLE"
            writer.write(answer.rstrip(b" ").replace(b"TAG", words[0]) + (b"" if own else words[0] + b" OK done\r\n"))

    return Peer(talk)


def server(port: int, **changed: object) -> ImapServer:
    known = {
        "host": "127.0.0.1",
        "port": port,
        "tls": False,
        "start_tls": False,
        "username": "u",
        "password": "hunter2",
    }
    return ImapServer(**{**known, **changed})  # type: ignore[arg-type]


async def talking(script: Script, what: Callable[[Imap], Awaitable[object]], **changed: object) -> object:
    async with (
        peer(script) as other,
        asyncio.timeout(30),
        Imap(server(other.port, **changed), timeout_s=0.5, literal_limit=1_000) as imap,
    ):
        return await what(imap)


async def test_reading() -> None:
    script = {
        "FETCH": b'* 1 FETCH (UID 9 RFC822.SIZE 5 INTERNALDATE "22-Nov-2026 10:00:00 +0000" '
        b"BODY[]<0> {5}\r\na)\r\nb FLAGS ())\r\n* 2 EXISTS\r\n",
        "SEARCH": b"* SEARCH 9 3 9\r\n",
    }
    async with peer(script) as other, Imap(server(other.port)) as imap:
        selected = await imap.select("INBOX")
        assert (selected.uid_validity, selected.uid_next, selected.exists) == (7, 12, 3)
        assert await imap.search("ALL") == [3, 9]
        imap.news = False
        found = (await imap.fetch([9], "BODY.PEEK[]<0.5>"))[9]
        assert (found.body, found.size, found.date) == (b"a)\r\nb", 5, "22-Nov-2026 10:00:00 +0000")
        assert imap.news
        assert await imap.idle(5)
        imap.news = False
        assert not await imap.idle(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        b"* 1 FETCH (UID 9 BODY[] {2000}\r\n",
        b"* 1 FETCH (UID 9 BODY[] {999999999999}\r\n ",
        b"* 1 FETCH (UID 9 BODY[] {50}\r\nhalf ",
        b"* 1 FETCH (UID 9 BODY[] ((((\r\n",
        b"* 1 FETCH (UID x RFC822.SIZE 5)\r\n",
        b"* 1 FETCH (UID 9 RFC822.SIZE))\r\n",
        b"* BYE going down\r\n ",
        b"\xff\xfe\x00\r\n ",
        b"TAG WHAT\r\n ",
        b"TAG NO not now\r\n ",
        b" ",
        b"drop",
    ],
)
async def test_what_no_good_server_says(answer: bytes) -> None:
    """An error within the time limit, whatever it is."""
    with pytest.raises(ImapError):
        await talking({"FETCH": answer}, lambda imap: imap.fetch([9], "BODY.PEEK[]"))


@pytest.mark.parametrize(
    "answer",
    [
        b"drop",
        b"* BYE timeout\r\n ",
        b"TAG NO no\r\n ",
        b"TAG OK at once\r\n ",
        b"+ idling\r\n* BYE x\r\n ",
        b"+ idling\r\nTAG OK enough\r\n ",
        b" ",
    ],
)
async def test_waiting_ends_with_the_connection(answer: bytes) -> None:
    with pytest.raises(ImapError):
        await talking({"IDLE": answer}, lambda imap: imap.idle(20))


@pytest.mark.parametrize("greeting", [b"", b"* BYE full\r\n", b"220 smtp\r\n", b"\x00" * 100])
async def test_greetings(greeting: bytes) -> None:
    async with peer({}, greeting=greeting) as other:
        with pytest.raises(ImapError):
            async with Imap(server(other.port), timeout_s=0.3):
                pass


async def test_nobody_listens() -> None:
    with pytest.raises(ImapError, match="cannot be reached"):
        async with Imap(server(9)):
            pass


async def test_refused_and_not_set_up() -> None:
    async def nothing(imap: Imap) -> None:
        return None

    with pytest.raises(ImapRefused) as refused:
        await talking({"LOGIN": b"TAG NO [AUTHENTICATIONFAILED] wrong\r\n "}, nothing)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ImapError) as busy:
        await talking({"LOGIN": b"TAG NO [UNAVAILABLE] later\r\n "}, nothing)
    assert not isinstance(busy.value, ImapRefused)
    with pytest.raises(ImapSetup, match="no password"):
        await talking({"CAPABILITY": b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n"}, nothing)
    with pytest.raises(ImapSetup, match="STARTTLS"):
        await talking({}, nothing, start_tls=True)
    with pytest.raises(ImapSetup, match="folder"):
        await talking({"SELECT": b"TAG NO gone\r\n "}, lambda imap: imap.select("x"))
    with pytest.raises(ImapSetup, match="move"):
        await talking({"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n"}, lambda imap: imap.move(1, "x"))


async def test_nothing_may_be_said_before_the_encryption() -> None:
    script = {"CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS\r\n", "STARTTLS": b"TAG OK go\r\n* 1 EXISTS\r\n "}
    with pytest.raises(ImapError, match="before the encryption"):
        await talking(script, lambda imap: imap.noop(), start_tls=True)


async def test_tokens_log_in() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK hi\r\n")
        while line := await reader.readline():
            if b"AUTHENTICATE" in line:
                writer.write(b"+\r\n")
                heard.append(base64.b64decode(await reader.readline()))
                writer.write(b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n")
                heard.append(await reader.readline())
                writer.write(line.split()[0] + b" NO wrong token\r\n")
            else:
                writer.write(line.split()[0] + b" OK\r\n")

    async with Peer(talk) as other:
        with pytest.raises(ImapRefused):
            async with Imap(server(other.port, token=True), timeout_s=5):
                pass
    assert heard == [b"user=u\1auth=Bearer hunter2\1\1", b"\r\n"]


async def test_credentials_can_be_tried() -> None:
    async def tried(script: Script) -> SendError | None:
        async with peer(script) as other, httpx.AsyncClient() as http:
            url = f"imap://u:hunter2@127.0.0.1:{other.port}?starttls=never"
            config = MailConfig.model_validate({"address": "help@shop.example", "imap_url": url})
            try:
                await MailAdapter().check(config, http)
            except SendError as error:
                return error
            return None

    opened = {"EXAMINE": GOOD["SELECT"]}
    assert await tried(opened) is None
    wrong = await tried({**opened, "LOGIN": b"TAG NO wrong\r\n "})
    assert wrong is not None
    assert (wrong.failure, "hunter2" in wrong.detail) == (SendFailure.REAUTH, False)
    no_folder = await tried({"EXAMINE": b"TAG NO gone\r\n "})
    assert no_folder is not None
    assert no_folder.failure is SendFailure.CONFIG


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("imaps://a%40b:p%3a@mx", ("mx", 993, True, False, "a@b", "p:", "INBOX", False)),
        ("imap://a:b@mx:1143/Support%2FNew?starttls=always", ("mx", 1143, False, True, "a", "b", "Support/New", False)),
        ("imap://a:b@mx?auth=xoauth2", ("mx", 143, False, None, "a", "b", "INBOX", True)),
    ],
)
def test_urls(url: str, expected: tuple[object, ...]) -> None:
    found = server_of(url)
    assert (
        found.host,
        found.port,
        found.tls,
        found.start_tls,
        found.username,
        found.password,
        found.folder,
        found.token,
    ) == expected
    assert found.password not in repr(found)


def test_names_of_folders() -> None:
    assert folder_name('Erledigt ü & "x"') == b'"Erledigt &APw- &- \\"x\\""'
    assert folder_name("收件箱") == b'"&ZTZO9nux-"'
    with pytest.raises(ValueError, match="quoted"):
        quoted("a\r\nb")


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_answer_is_read_or_refused(parts: list[bytes]) -> None:
    try:
        found = tokens(parts)
        pairs(found[0] if found else None)
        number(found[0] if found else None)
    except Garbage:
        return
