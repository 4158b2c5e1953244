"""Who sits behind a widget: an anonymous visitor with a token, or a person the site's backend vouches for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import ChannelAccount
from app.channels.base import Sender
from app.channels.text import clean
from app.clock import now
from app.errors import Unauthorized
from app.ids import new_id, new_token, token_hash
from app.intake import recognition
from app.models import Contact, ContactIdentity, Conversation, Message, ResolutionCycle, Visitor
from app.models.words import ConversationStatus, Direction

VALID_DAYS = 180
IDENTITY_MAX_S = 24 * 3600
CLAIM_LIMIT = 255
_TEXTS = ("name", "first_name", "last_name", "email")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MAIL_LIMIT = 254
_CLAIMS = ("external_user_id", "user_id", "sub")


class BadIdentity(Unauthorized):
    """The identity token is not valid for this channel."""

    code = "identity-invalid"


@dataclass(frozen=True, slots=True)
class Claims:
    """What an identity token says."""

    id: str
    name: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What `identify` found out. `token` is the visitor's, new or as given; `contact` is None before the first message
    of somebody anonymous. `stream` is the contact whose events are theirs, also before there is one; `before` the one
    whose they were until this very hello."""

    visitor_id: UUID
    token: str
    sender: Sender
    contact: Contact | None
    before: UUID | None = None

    @property
    def stream(self) -> UUID:
        return self.contact.id if self.contact else self.visitor_id

    @property
    def absorbed(self) -> UUID | None:
        """The contact that this hello has merged into theirs."""
        return self.before if self.before != self.stream else None


async def identify(
    session: AsyncSession,
    account: ChannelAccount,
    *,
    visitor_token: str | None,
    identity: str | None,
    admit: Callable[[], None] = lambda: None,
) -> Known:
    """Find or make the visitor; a valid `identity` names them from now on, and what they wrote before is theirs.

    A visitor who is known as somebody stays so without an `identity`; with somebody else's a new visitor is made, who
    sees nothing of the first. `admit` may refuse to make a visitor. Raises BadIdentity and what `admit` raises.
    """
    claims = read_identity(getattr(account.config, "identity_secret", None), identity) if identity else None
    visitor = await _find(session, account, visitor_token) if visitor_token else None
    if visitor is not None and claims is None and await _is_left_over(session, account, visitor):
        visitor = None
    before = await _stream_of(session, account, visitor) if visitor is not None and claims is not None else None
    if visitor is not None and claims is not None and not await _becomes(session, account, visitor, claims):
        visitor = before = None
    token = visitor_token
    if visitor is None or token is None:
        admit()
        visitor, token = _new(account)
        if claims is not None:
            await recognition.introduce(session, account.id, visitor, user=claims.id)
    if claims is not None:
        visitor.name, visitor.email = claims.name, claims.email
    visitor.last_seen_at = now()
    visitor.expires_at = now() + timedelta(days=VALID_DAYS)
    session.add(visitor)
    sender = sender_of(visitor)
    contact = await contact_of(session, account, sender)
    if contact is not None and claims is not None:
        recognition.fill(contact, name=claims.name, email=claims.email)
    return Known(visitor.id, token, sender, contact, before)


async def _stream_of(session: AsyncSession, account: ChannelAccount, visitor: Visitor) -> UUID:
    contact = await contact_of(session, account, sender_of(visitor))
    return contact.id if contact else visitor.id


async def _becomes(session: AsyncSession, account: ChannelAccount, visitor: Visitor, claims: Claims) -> bool:
    """Whether this visitor is, or can become, the person of the claims."""
    if visitor.identity_kind == "user":
        return visitor.identity_value == claims.id
    return await recognition.recognise(session, account.id, visitor, user=claims.id)


async def _is_left_over(session: AsyncSession, account: ChannelAccount, visitor: Visitor) -> bool:
    """Whether the visitor's contact was there and its identity is gone: what comes now is somebody new."""
    wrote_before = await session.get(Contact, visitor.id) is not None
    return wrote_before and await contact_of(session, account, sender_of(visitor)) is None


def _new(account: ChannelAccount) -> tuple[Visitor, str]:
    token, visitor_id = new_token("visitor"), new_id()
    visitor = Visitor(
        id=visitor_id,
        channel_id=account.id,
        digest=token_hash(token),
        identity_value=str(visitor_id),
        expires_at=now() + timedelta(days=VALID_DAYS),
    )
    return visitor, token


def sender_of(visitor: Visitor) -> Sender:
    """As their messages name them. The contact that a first message makes has the visitor's own id, so that every tab
    of theirs follows it from the start."""
    return Sender(
        kind=visitor.identity_kind,
        value=visitor.identity_value,
        name=visitor.name,
        email=visitor.email,
        contact_id=visitor.id,
    )


async def again(session: AsyncSession, account: ChannelAccount, known: Known) -> Known:
    """The same visitor as they are known now: another tab may have said who they are, a supervisor merged them."""
    visitor = await session.get_one(Visitor, known.visitor_id)
    sender = sender_of(visitor)
    return Known(visitor.id, known.token, sender, await contact_of(session, account, sender))


async def _find(session: AsyncSession, account: ChannelAccount, token: str) -> Visitor | None:
    found = await session.exec(
        select(Visitor).where(
            col(Visitor.digest) == token_hash(token),
            col(Visitor.channel_id) == account.id,
            col(Visitor.expires_at) > now(),
        )
    )
    return found.one_or_none()


def read_identity(secret: Any, token: str) -> Claims:
    """The claims that matter. HS256 with the channel's secret; `exp` is required. Raises BadIdentity, naming in `field`
    the claim that is not text, or is no mail address."""
    if secret is None:
        raise BadIdentity("this channel has no identity_secret; remove identity from hello")
    try:
        claims = jwt.decode(
            token,
            secret.get_secret_value(),
            algorithms=["HS256"],
            options={"require": ["exp"], "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        raise BadIdentity(f"the identity token is not valid: {error}") from None
    if claims["exp"] - time.time() > IDENTITY_MAX_S + 60:
        raise BadIdentity(f"the identity token may be valid for {IDENTITY_MAX_S // 3600} h at most (exp)")
    found = next((claims[name] for name in _CLAIMS if claims.get(name)), None)
    if found is None:
        raise BadIdentity("the identity token names nobody (sub)")
    said = {claim: _text(claim, claims.get(claim)) for claim in _TEXTS}
    email = said["email"]
    if email and (not _MAIL.fullmatch(email) or not email.isprintable() or len(email) > _MAIL_LIMIT):
        raise BadIdentity("the identity token's email is not a mail address", field="email")
    name = said["name"] or " ".join(part for part in (said["first_name"], said["last_name"]) if part)
    return Claims(_plain(found), name or None, email or None)


def _text(claim: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise BadIdentity(f"the identity token's {claim} is not text", field=claim)
    return clean(value or "", CLAIM_LIMIT).strip()


def _plain(value: Any) -> str:
    return clean(str(value), CLAIM_LIMIT)


async def contact_of(session: AsyncSession, account: ChannelAccount, sender: Sender) -> Contact | None:
    """None until their first message."""
    found = await session.exec(
        select(Contact)
        .join(ContactIdentity, col(ContactIdentity.contact_id) == col(Contact.id))
        .where(
            col(ContactIdentity.channel_id) == account.id,
            col(ContactIdentity.kind) == sender.kind,
            col(ContactIdentity.value) == sender.value,
        )
    )
    return found.one_or_none()


async def learn_language(session: AsyncSession, contact_id: UUID, language: str) -> None:
    """Where nothing is known of it yet."""
    unknown = col(Contact.language).is_(None)
    await session.execute(
        update(Contact)
        .where(col(Contact.id) == contact_id, unknown)
        .values(language=language, version=Contact.version + 1, updated_at=func.now())
    )


async def conversation_of(session: AsyncSession, account: ChannelAccount, sender: Sender) -> Conversation | None:
    """The one that their next message joins; else another that is open, else the newest."""
    me = (
        select(ContactIdentity.contact_id, ContactIdentity.id, ContactIdentity.same_as)
        .where(
            col(ContactIdentity.channel_id) == account.id,
            col(ContactIdentity.kind) == sender.kind,
            col(ContactIdentity.value) == sender.value,
        )
        .subquery()
    )
    closed = col(Conversation.status) == ConversationStatus.CLOSED
    mine = col(Conversation.identity_id) == func.coalesce(me.c.same_as, me.c.id)
    found = await session.exec(
        select(Conversation)
        .join(me, col(Conversation.contact_id) == me.c.contact_id)
        .where(col(Conversation.channel_id) == account.id)
        .order_by(closed.asc(), mine.desc(), col(Conversation.id).desc())
        .limit(1)
    )
    return found.one_or_none()


async def receipt_of(session: AsyncSession, contact: Contact, receipt_id: UUID | None) -> UUID | None:
    """The receipt they mean, if it is theirs; without an id the newest one."""
    query = (
        select(ResolutionCycle.id)
        .join(Conversation, col(Conversation.id) == col(ResolutionCycle.conversation_id))
        .where(col(Conversation.contact_id) == contact.id)
        .order_by(col(ResolutionCycle.id).desc())
        .limit(1)
    )
    if receipt_id is not None:
        query = query.where(col(ResolutionCycle.id) == receipt_id)
    return (await session.exec(query)).one_or_none()


async def messages_of(session: AsyncSession, conversation: Conversation, *, limit: int) -> list[Message]:
    """The newest, oldest first, without notes."""
    found = await session.exec(
        select(Message)
        .where(col(Message.conversation_id) == conversation.id, col(Message.direction) != Direction.NOTE)
        .order_by(col(Message.seq).desc())
        .limit(limit)
    )
    return list(reversed(found.all()))
