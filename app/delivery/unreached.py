"""Receipts that did not arrive: noted where whoever sends receipts finds them, to go by another channel."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.base import SendFailure
from app.errors import RecipientRefused, WindowClosed
from app.wakeups import wake

TOPIC = "confirm"
REFUSED = SendFailure.PERMANENT.value
CODES = frozenset({WindowClosed.code, RecipientRefused.code, "too-many-automatic", REFUSED})
"""What is wrong with the channel or the address, and not with the message (the third is automatic.py's); and what its
provider refused: of a text that was to be approved there, that is no word about the receipt."""

_NOTE = text(
    "UPDATE resolution_cycle r SET unreached = m.id FROM message m "
    "WHERE m.id = ANY(CAST(:ids AS uuid[])) AND m.kind = 'receipt' AND m.status = 'failed' "
    "AND (m.error_code <> :refused OR m.content ? 'template') "
    "AND r.conversation_id = m.conversation_id AND (r.id::text = m.content->'receipt'->>'id' AND r.state = 'pending' "
    "OR r.id::text = m.content->'recovery'->>'cycle_id') "
    "RETURNING r.id"
)


async def note(session: AsyncSession, messages: Sequence[UUID]) -> None:
    """Of these that have failed, in the transaction that says so; the caller holds their conversations."""
    if not messages:
        return
    await session.flush()
    if (await session.execute(_NOTE, {"ids": list(messages), "refused": REFUSED})).first() is not None:
        await wake(session, TOPIC)
