"""Commands that are done once: the answer is kept by the very transaction that did it, and given again to a repetition."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.protocol import Command
from app.vault import Vault

Answer = dict[str, Any]
# Another frame under this id, or the same after its time, is a new command. A repetition at the same time waits here for
# the first one's end: after its commit the frame is known, after its failure the place is free.
_CLAIM = text(
    "INSERT INTO idempotency_key AS k (principal, key, fingerprint) VALUES (:principal, :key, :fingerprint) "
    "ON CONFLICT (principal, key) DO UPDATE SET fingerprint = excluded.fingerprint, answer = NULL, created_at = now() "
    "WHERE k.fingerprint <> excluded.fingerprint OR k.created_at < now() - make_interval(secs => :memory) RETURNING 1"
)
_KNOWN = text("SELECT answer FROM idempotency_key WHERE principal = :principal AND key = :key")
_KEEP = text("UPDATE idempotency_key SET answer = :answer WHERE principal = :principal AND key = :key")


async def once(
    session: AsyncSession,
    vault: Vault,
    agent_id: UUID,
    command: Command,
    *,
    memory_s: float,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """Do the work, or give the answer that the same frame got under the same id within `memory_s`. A refusal is not
    remembered: nothing was done, and it may be possible now."""
    name = {"principal": f"desk:{agent_id}", "key": str(command.id)}
    claim = {**name, "fingerprint": fingerprint(command), "memory": memory_s}
    if (await session.execute(_CLAIM, claim)).first() is None:
        sealed = (await session.execute(_KNOWN, name)).scalar_one()
        known: Answer = orjson.loads(vault.open(sealed))
        return known
    answer = await work()
    await session.execute(_KEEP, {**name, "answer": vault.seal(orjson.dumps(answer, default=str).decode())})
    return answer


def fingerprint(command: Command) -> str:
    """What was asked for, however it was written down."""
    asked = command.model_dump(mode="json", exclude={"id"}, exclude_unset=True)
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
