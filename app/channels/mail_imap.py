"""Reading a mailbox by IMAP: as much of the protocol as it takes, and waiting for what is new in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from app.channels import mail_imap_tokens as wire
from app.channels.mail_imap_server import ImapError, ImapSetup
from app.channels.mail_imap_tokens import Garbage, Token
from app.channels.mail_imap_wire import CODE, Connection, Declined, said


@dataclass(frozen=True, slots=True)
class Selected:
    """`uid_next` is None where the server does not say."""

    uid_validity: int
    uid_next: int | None
    exists: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """`body` is what was asked for of the bytes, or None."""

    uid: int
    size: int
    date: str | None
    body: bytes | None


class Imap(Connection):
    """One connection and what is done over it. Use it as a context manager; nothing else closes it.

    Every verb raises ImapError.
    """

    async def select(self, folder: str, *, read_only: bool = False) -> Selected:
        try:
            lines, _ = await self.command((b"EXAMINE " if read_only else b"SELECT ") + wire.folder_name(folder))
        except Declined as error:
            raise ImapSetup(f"the folder cannot be opened: {error}") from None
        codes = {code[1].upper(): code[2] or b"" for line in lines for code in CODE.finditer(line[0])}
        exists = [line[0].split()[1] for line in lines if line[0].strip().upper().endswith(b" EXISTS")]
        try:
            uid_next = wire.number(codes[b"UIDNEXT"].strip()) if b"UIDNEXT" in codes else None
            return Selected(
                wire.number(codes.get(b"UIDVALIDITY", b"").strip()), uid_next, wire.number(exists[-1]) if exists else 0
            )
        except Garbage as error:
            raise ImapError(str(error)) from None

    async def search(self, criteria: str) -> list[int]:
        """UIDs, ascending."""
        lines, _ = await self.command(b"UID SEARCH " + criteria.encode("ascii"))
        try:
            found = [
                wire.number(word)
                for line in lines
                if _is(line, b"SEARCH")
                for word in line[0].split()[2:]
                if word[0] != 40
            ]
        except Garbage as error:
            raise ImapError(str(error)) from None
        return sorted(set(found))

    async def fetch(self, uids: Sequence[int], what: str) -> dict[int, Fetched]:
        """`what` is a list of items as the protocol has them. Mails that are gone are left out."""
        if not uids:
            return {}
        lines, _ = await self.command(f"UID FETCH {','.join(map(str, uids))} (UID {what})".encode())
        found = {}
        for line in lines:
            try:
                if (one := _fetched(line)) is not None and one.uid in uids:
                    found[one.uid] = one
            except Garbage as error:
                raise ImapError(str(error)) from None
        return found

    async def mark_seen(self, uid: int) -> None:
        await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Seen)".encode())

    async def move(self, uid: int, folder: str) -> None:
        """Raises ImapSetup when the server has neither MOVE nor UIDPLUS: expunging would take other mails along."""
        target = f"{uid} ".encode() + wire.folder_name(folder)
        if "MOVE" in self.capabilities:
            await self.command(b"UID MOVE " + target)
        elif "UIDPLUS" in self.capabilities:
            await self.command(b"UID COPY " + target)
            await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)".encode())
            await self.command(f"UID EXPUNGE {uid}".encode())
        else:
            raise ImapSetup("the server cannot move mails")

    async def noop(self) -> None:
        await self.command(b"NOOP")

    @property
    def can_idle(self) -> bool:
        return "IDLE" in self.capabilities

    async def idle(self, seconds: float) -> bool:
        """Wait until something is new, at most so long; whether there was."""
        assert self._reader is not None
        if self.news:
            return True
        tag = await self.send(b"IDLE")
        async with self.patience():
            while not (line := (await self.line())[0]).startswith(b"+"):
                if line.startswith(tag + b" "):
                    self.done(line)
                    raise ImapError("the server ended IDLE before it began")
        news = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not news:
                    # Nothing is consumed until a whole line is there, so the time limit cannot tear one.
                    line = (await self.line())[0]
                    if line.startswith(b"* BYE"):
                        raise ImapError(f"the server said goodbye: {said(line)}")
                    if line.startswith(tag + b" "):
                        raise ImapError("the server ended IDLE by itself")
                    news = line.strip().upper().endswith((b" EXISTS", b" RECENT"))
        async with self.patience():
            await self.write(b"DONE\r\n")
            while not (line := (await self.line())[0]).startswith(tag + b" "):
                news = news or line.strip().upper().endswith(b" EXISTS")
            self.done(line)
        return news


def _is(line: Sequence[bytes], word: bytes) -> bool:
    return line[0].upper().split(maxsplit=2)[:2] == [b"*", word]


def _fetched(line: Sequence[bytes]) -> Fetched | None:
    """Raises Garbage."""
    head = line[0].split(maxsplit=3)
    if len(head) < 3 or head[2].upper() != b"FETCH":
        return None
    opened = line[0].index(b"(")
    values = wire.pairs(wire.tokens([line[0][opened:], *line[1:]])[0])
    if b"UID" not in values:
        return None
    body: Token = next((value for name, value in values.items() if name.startswith(b"BODY[")), None)
    date = values.get(b"INTERNALDATE")
    return Fetched(
        uid=wire.number(values[b"UID"]),
        size=wire.number(values.get(b"RFC822.SIZE", b"0")),
        date=date.decode("ascii", "replace") if isinstance(date, bytes) else None,
        body=body if isinstance(body, bytes) else None,
    )
