"""Who sits behind a widget: an anonymous visitor with a token, or a person the site's backend vouches for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import ChannelAccount
from app.channels.base import Sender
from app.clock import now
from app.errors import Unauthorized
from app.ids import new_id, new_token, token_hash
from app.models import Contact, ContactIdentity, Conversation, Visitor
from app.models.words import ConversationStatus

VALID_DAYS = 180
IDENTITY_MAX_S = 24 * 3600
_CLAIMS = ("external_user_id", "user_id", "sub")


class BadIdentity(Unauthorized):
    """The identity token is not valid for this channel."""

    code = "identity-invalid"


@dataclass(frozen=True, slots=True)
class Known:
    """What `identify` found out. `token` is the visitor's, new or as given."""

    visitor: Visitor
    token: str
    sender: Sender


async def identify(
    session: AsyncSession, account: ChannelAccount, *, visitor_token: str | None, identity: str | None
) -> Known:
    """Find or make the visitor; a valid `identity` names them from now on. Raises BadIdentity."""
    claims = read_identity(getattr(account.config, "identity_secret", None), identity) if identity else None
    visitor = await _find(session, account, visitor_token) if visitor_token else None
    token = visitor_token
    if visitor is None or token is None:
        token = new_token("visitor")
        visitor = Visitor(
            id=new_id(),
            channel_id=account.id,
            digest=token_hash(token),
            identity_value="",
            expires_at=now() + timedelta(days=VALID_DAYS),
        )
        visitor.identity_value = str(visitor.id)
    if claims is not None:
        visitor.identity_kind, visitor.identity_value = "user", claims["id"]
        visitor.name, visitor.email = claims.get("name"), claims.get("email")
    visitor.last_seen_at = now()
    visitor.expires_at = now() + timedelta(days=VALID_DAYS)
    session.add(visitor)
    sender = Sender(kind=visitor.identity_kind, value=visitor.identity_value, name=visitor.name, email=visitor.email)
    return Known(visitor, token, sender)


async def _find(session: AsyncSession, account: ChannelAccount, token: str) -> Visitor | None:
    found = await session.exec(
        select(Visitor).where(
            col(Visitor.digest) == token_hash(token),
            col(Visitor.channel_id) == account.id,
            col(Visitor.expires_at) > now(),
        )
    )
    return found.one_or_none()


def read_identity(secret: Any, token: str) -> dict[str, Any]:
    """The claims that matter: id, name, email. HS256 with the channel's secret; `exp` is required. Raises BadIdentity."""
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
    name = claims.get("name") or " ".join(
        part for part in (claims.get("first_name"), claims.get("last_name")) if isinstance(part, str)
    )
    return {"id": str(found)[:255], "name": str(name)[:255] or None, "email": claims.get("email")}


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


async def conversation_of(session: AsyncSession, account: ChannelAccount, contact: Contact) -> Conversation | None:
    """The open one, else the newest."""
    found = await session.exec(
        select(Conversation)
        .where(col(Conversation.contact_id) == contact.id, col(Conversation.channel_id) == account.id)
        .order_by((col(Conversation.status) == ConversationStatus.CLOSED).asc(), col(Conversation.id).desc())
        .limit(1)
    )
    return found.one_or_none()
