"""Mail by webhook: larger than other calls, read in a thread, and refused in the way that its provider understands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import ChannelAccount
from app.channels import mail_webhooks
from app.channels.base import Call, Reply
from app.channels.mail_config import MailConfig
from app.channels.mail_webhooks import Once
from app.context import Context
from app.db import Database
from app.errors import NotGenuine, TooLarge
from app.intake.reading import read

_ACCEPTED = Reply(b'{"status":"stored"}', media_type="application/json")
_TWICE = 2.5  # a mail as JSON, and its attachments beside it in base64
_REMEMBER = text(
    "INSERT INTO call_token(channel_id, token, digest) VALUES (:channel, :token, :digest) "
    "ON CONFLICT (channel_id, token) DO UPDATE SET digest = call_token.digest RETURNING digest"
)
_FORGET = text("DELETE FROM call_token WHERE seen_at < now() - interval '7 days'")
_logger = log.get("webhooks")


async def take(
    context: Context,
    account: ChannelAccount,
    receive: Callable[[int], Awaitable[Call]],
    kept: Callable[[Call], Mapping[str, str]],
) -> Reply:
    """Answered after the commit. Raises NotGenuine, Unavailable; what is too large is answered so that it is not sent again."""
    assert isinstance(account.config, MailConfig)
    try:
        call = await receive(int(context.settings.mail_limit * _TWICE))
        account.adapter.verify(account.config, call)
        parsed = await asyncio.to_thread(read, account, call)
        if (once := mail_webhooks.once(account.config, call, parsed)) is not None:
            await _require_first(context.database, account, once)
        await context.intake.store(account, transport="webhook", headers=kept(call), body=call.body, parsed=parsed)
    except TooLarge as error:
        status = mail_webhooks.refused_status(account.config)
        _logger.warning("mail refused", channel_id=account.id, detail=error.detail, status=status)
        return Reply(b'{"status":"refused"}', status=status, media_type="application/json")
    return _ACCEPTED


async def _require_first(database: Database, account: ChannelAccount, once: Once) -> None:
    """The same call may come again; another one with its token is a forgery. Raises NotGenuine."""
    async with database.begin() as session:
        values = {"channel": account.id, "token": once.token, "digest": once.digest}
        known = (await session.execute(_REMEMBER, values)).scalar_one()
    if known != once.digest:
        raise NotGenuine("this token was used for another call")


async def forget(session: AsyncSession) -> None:
    """Tokens older than any window in which they are believed."""
    await session.execute(_FORGET)
