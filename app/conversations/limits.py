"""A policy applied to the conversations that are open, because somebody asked: in small batches, out of everybody's way."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import queries
from app.db import Database
from app.models import SlaJob
from app.models.words import ConversationStatus, JobState
from app.sla import clocks

TOPIC = "limits"
BATCH = 200
RETRY_S = 0.1
# Along the unique index of open conversations, so that the closed ones cost nothing.
_NEXT = text("""
    SELECT id, identity_id, channel_id FROM conversation
    WHERE status <> 'closed'
      AND (CAST(:identity AS uuid) IS NULL OR (identity_id, channel_id) > (CAST(:identity AS uuid), CAST(:channel AS uuid)))
    ORDER BY identity_id, channel_id LIMIT :limit
""")


class Applier:
    """One per process; any number of them share the jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """A batch of one job in one transaction; those in others' hands come again at its end. 0: there is more."""
        async with self._database.begin() as session:
            found = await session.exec(
                select(SlaJob)
                .where(col(SlaJob.state) == JobState.RUNNING)
                .order_by(col(SlaJob.id))
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            job = found.one_or_none()
            if job is None:
                return None
            ids = await _walk(session, job)
            left = await _apply(session, job, ids)
            _note(job, ids, left)
            session.add(job)
            stuck = job.walked and left == set(ids) and bool(ids)
        return RETRY_S if stuck else 0


async def _walk(session: AsyncSession, job: SlaJob) -> Sequence[UUID]:
    if job.walked:
        return job.left_ids[:BATCH]
    given = {"identity": job.at_identity, "channel": job.at_channel, "limit": BATCH}
    rows = (await session.execute(_NEXT, given)).all()
    if len(rows) < BATCH:
        job.walked = True
    if rows:
        job.at_identity, job.at_channel = rows[-1].identity_id, rows[-1].channel_id
    job.seen += len(rows)
    return [row.id for row in rows]


async def _apply(session: AsyncSession, job: SlaJob, ids: Sequence[UUID]) -> set[UUID]:
    """Returns those that somebody else holds."""
    held = await queries.try_lock_many(session, ids) if ids else []
    for conversation in held:
        if conversation.status != ConversationStatus.CLOSED and await clocks.retarget(
            session, conversation, newest=True
        ):
            job.changed += 1
    return set(ids) - {conversation.id for conversation in held}


def _note(job: SlaJob, ids: Sequence[UUID], left: set[UUID]) -> None:
    done = set(ids) - left
    job.left_ids = [one for one in dict.fromkeys([*job.left_ids, *left]) if one not in done]
    if job.walked and not job.left_ids:
        job.state, job.finished_at = JobState.DONE, now()
