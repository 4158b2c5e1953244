"""Forms that visitors send: checked, trapped or stored, and only then thanked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import urlencode
from uuid import UUID

import orjson
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import ChannelAccount
from app.channels import form_read
from app.channels.addresses import identity_on
from app.channels.base import Call, InboundMessage, Parsed, Unparseable
from app.channels.form import origin_of
from app.channels.form_config import FormConfig
from app.channels.form_read import Submission, Wrong
from app.clock import now
from app.context import Context
from app.conversations import consents
from app.conversations.consents import Terms
from app.edge import read_body
from app.errors import BadRequest, Conflict, Invalid, NotFound, Problem
from app.ids import new_id
from app.intake import form_marks, form_trap, people
from app.intake.limits import address_of
from app.models import Conversation, InboundJournal, Message
from app.models.words import JournalStatus

SUBMISSIONS = Counter("roundtrip_form_submissions_total", "Submissions of forms, by what became of them", ["outcome"])
THANKS = "form-thanks"
_THANKS_VALID_S = 86_000
_KEPT_HEADERS = ("content-type", "user-agent", "origin", "referer", form_read.KEY_HEADER)
_RESTORED = text("UPDATE inbound_journal SET status = 'replayed' WHERE id = :id AND status = 'trapped'")
_logger = log.get("forms")
DETAILS = {
    "missing": "this has to be filled in",
    "consent": "this has to be agreed to",
    "email": "this is not a mail address",
    "phone": "this is not a telephone number",
    "option": "this is not one of the choices",
    "too_long": "longer than {limit} characters",
    "file_too_large": "a file may have {limit} bytes",
    "too_many_files": "at most {limit} files",
}


class Pages(Protocol):
    """How a person is answered; programs get JSON. The pages are of another room (app/web/form_page.py)."""

    def wants_json(self, request: Request) -> bool: ...

    def again(
        self, request: Request, account: ChannelAccount, submission: Submission, wrong: Sequence[Wrong]
    ) -> Response: ...

    def explain(self, request: Request, problem: Problem) -> Response: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a submission is. `is_new` when it opened its conversation: whoever sent it may follow its progress."""

    message_id: UUID
    conversation_id: UUID
    is_new: bool


class Forms:
    """One per process."""

    def __init__(self, context: Context, pages: Pages) -> None:
        self._context, self._pages = context, pages

    async def take(self, request: Request, account: ChannelAccount) -> Response:
        """Answered after the commit. Raises Problem for programs; people are shown a page."""
        try:
            call = await self._call(request, _config(account))
            account.adapter.verify(account.config, call)
            return _readable(await self._answer(request, account, call), call)
        except Problem as problem:
            SUBMISSIONS.labels("refused").inc()
            if self._pages.wants_json(request):
                raise
            return self._pages.explain(request, problem)

    async def _call(self, request: Request, config: FormConfig) -> Call:
        body = await read_body(request, config.body_limit)
        return Call(
            method=request.method,
            url=f"{self._context.settings.base_url}{request.scope['path']}",
            query=request.query_params,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]},
            body=body,
            received_at=now(),
        )

    async def _answer(self, request: Request, account: ChannelAccount, call: Call) -> Response:
        config = _config(account)
        try:
            submission = form_read.read(config, call)
        except Unparseable as error:
            raise BadRequest(str(error)) from None
        if wrong := form_read.check(config, submission):
            return self._again(request, account, submission, wrong)
        why = form_trap.reason(
            config, submission, vault=self._context.vault, channel_id=account.id, at=call.received_at
        )
        marks = _marks(config, submission)
        repeats = why is None and await self._is_known(account, marks)
        await self._count(account, request.client.host if request.client else "", repeats=repeats)
        call = await self._keyed(account, call, marks)
        if why is not None:
            await self._trap(account, call, why)
            return self._thanks(request, account, submission, None)
        kept = await self._admit(account, call, submission, transport="webhook")
        SUBMISSIONS.labels("stored").inc()
        return self._thanks(request, account, submission, kept)

    async def _is_known(self, account: ChannelAccount, marks: Sequence[tuple[str, float]]) -> bool:
        async with self._context.database.begin() as session:
            return await form_marks.is_known(session, account.id, marks)

    async def _count(self, account: ChannelAccount, address: str, *, repeats: bool) -> None:
        """The channel first: a flood from everywhere leaves no row per address. What is sent again is honest and makes
        nothing new: it counts apart. Raises TooManyRequests."""
        config = _config(account)
        limits = [(form_marks.AGAIN if repeats else "", config.channel_limit)]
        if not repeats and not config.trusts(address):
            limits.append((form_marks.source_of(address_of(address)), config.address_limit))
        for name, limit in limits:
            refused: Problem | None = None
            async with self._context.database.begin() as session:
                try:
                    await form_marks.count(session, account.id, name, limit=limit, window_s=config.limit_window_s)
                except Problem as problem:
                    refused = problem  # after the commit: it counts
            if refused is not None:
                raise refused

    async def _keyed(self, account: ChannelAccount, call: Call, marks: Sequence[tuple[str, float]]) -> Call:
        """With the key that every repetition of this submission gets."""
        async with self._context.database.begin() as session:
            key = await form_marks.key_of(session, account.id, marks)
        return Call(call.method, call.url, {}, {**call.headers, form_read.KEY_HEADER: key}, call.body, call.received_at)

    async def _trap(self, account: ChannelAccount, call: Call, why: str) -> None:
        SUBMISSIONS.labels("trapped").inc()
        _logger.info("submission trapped", channel_id=account.id, why=why)
        async with self._context.database.begin() as session:
            session.add(
                InboundJournal(
                    channel_id=account.id,
                    transport="webhook",
                    headers=_kept(call),
                    body=call.body,
                    status=JournalStatus.TRAPPED,
                    error=why,
                    correlation_id=log.correlation.get(),
                )
            )

    async def restore(self, account: ChannelAccount, journal_id: UUID) -> Kept:
        """A person was taken for a robot: their submission is stored as it would have been. Raises NotFound, Conflict."""
        async with self._context.database.begin() as session:
            row = await session.get(InboundJournal, journal_id)
        if row is None or row.channel_id != account.id:
            raise NotFound("there is no such submission")
        if row.status != JournalStatus.TRAPPED:
            raise Conflict("it is not trapped any more", status_now=row.status)
        headers = {str(name): str(value) for name, value in row.headers.items()}
        call = Call("POST", "", {}, headers, row.body, row.received_at)
        submission = form_read.read(_config(account), call)
        if wrong := form_read.check(_config(account), submission):
            raise Conflict("the form asks for something else now", errors=_listed(wrong))
        return await self._admit(account, call, submission, transport="restore", journal_id=journal_id)

    async def _admit(
        self,
        account: ChannelAccount,
        call: Call,
        submission: Submission,
        *,
        transport: str,
        journal_id: UUID | None = None,
    ) -> Kept:
        """Stored with its consents, in one commit."""
        config = _config(account)
        mark = form_read.fingerprint(config, submission, named=True) if submission.submission_id else None
        message = form_read.message(config, submission, key=call.headers[form_read.KEY_HEADER])
        message = replace(message, content={**message.content, "submission": mark})
        theirs = False
        async with self._context.database.begin() as session:
            await people.place(session, account.id, message.sender)
        catalog = await self._context.catalog.current()
        replying = catalog.channels.get(UUID(config.reply_channel_id)) if config.reply_channel_id else None
        terms = [
            Terms(each.purpose, each.version, each.text, each.digest)
            for each in form_read.meant(config, submission).consents
        ]

        async def also(session: AsyncSession) -> None:
            nonlocal theirs
            stored = (
                await session.exec(
                    select(Message).where(
                        col(Message.channel_id) == account.id, col(Message.external_id) == message.external_id
                    )
                )
            ).one()
            theirs = mark is not None and stored.content.get("submission") == mark
            await consents.give(session, stored, terms)
            if replying is not None:
                await _reachable(session, stored.conversation_id, replying, message)
            if journal_id is not None:
                await session.execute(_RESTORED, {"id": journal_id})

        [stored] = await self._context.intake.store_with(
            account,
            transport=transport,
            headers=_kept(call),
            body=call.body,
            parsed=Parsed(messages=[message]),
            also=also,
        )
        own = stored.outcome == "stored" or theirs  # by the same page, whose id nobody else knows
        return Kept(stored.message_id, stored.conversation_id, own and stored.seq == 1)

    def _again(
        self, request: Request, account: ChannelAccount, submission: Submission, wrong: Sequence[Wrong]
    ) -> Response:
        """What is wrong, with what they have written. Raises Invalid for programs."""
        SUBMISSIONS.labels("incomplete").inc()
        if not self._pages.wants_json(request):
            return self._pages.again(request, account, submission, wrong)
        listed = _listed(wrong)
        raise Invalid(f"{listed[0]['field']}: {listed[0]['detail']}", field=listed[0]["field"], errors=listed)

    def _thanks(self, request: Request, account: ChannelAccount, submission: Submission, kept: Kept | None) -> Response:
        """The same for everybody. Only who opened the conversation may see how it stands: an address is easily typed, and
        what was joined may be somebody else's."""
        context, config = self._context, _config(account)
        own = kept if kept is not None and kept.is_new and config.show_progress_link else None
        if self._pages.wants_json(request):
            link = context.progress_link(own.conversation_id) if own else None
            return Response(orjson.dumps({"status": "stored", "progress_url": link}), media_type="application/json")
        if config.redirect_url is not None:
            return RedirectResponse(config.redirect_url, 303)
        token = context.vault.sign(THANKS, own.conversation_id if own else new_id(), valid_s=_THANKS_VALID_S)
        asked = {"t": token, **({"lang": submission.language} if submission.language else {})}
        return RedirectResponse(f"{context.settings.base_url}/forms/{account.id}/thanks?{urlencode(asked)}", 303)


def _config(account: ChannelAccount) -> FormConfig:
    assert isinstance(account.config, FormConfig), "the type of the channel says so"
    return account.config


def _marks(config: FormConfig, submission: Submission) -> list[tuple[str, float]]:
    """What a repetition is known by, and how long: the page's own submission id for a day, the same text of the same
    sender for minutes."""
    same = (form_read.fingerprint(config, submission, named=False), config.duplicate_window_s)
    if not submission.submission_id:
        return [same]
    return [(form_read.fingerprint(config, submission, named=True), form_marks.SUBMISSION_MEMORY_S), same]


async def _reachable(
    session: AsyncSession, conversation_id: UUID, replying: ChannelAccount, message: InboundMessage
) -> None:
    """What they write from the address that they gave is theirs, on the channel by which they are answered."""
    named = identity_on(replying.type, email=message.sender.email, phone=message.sender.phone)
    if named is not None:
        conversation = await session.get_one(Conversation, conversation_id)
        kind, value, address = named
        await people.join(session, conversation.contact_id, replying.id, kind, value, dict(address))


def _kept(call: Call) -> dict[str, str]:
    return {name: call.headers[name] for name in _KEPT_HEADERS if name in call.headers}


def _listed(wrong: Sequence[Wrong]) -> list[dict[str, str]]:
    return [{"field": item.field, "detail": DETAILS[item.what].format(limit=item.limit)} for item in wrong]


def _readable(response: Response, call: Call) -> Response:
    """A page of a site that is on the list may read our answer."""
    origin = call.headers.get("origin")
    if origin and origin_of(call) == origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
    return response
