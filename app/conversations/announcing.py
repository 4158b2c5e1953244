"""Customers hear at once that their message came, and how their matter moves on, without being flooded.

The event log is followed by a cursor, so intake and the verbs write nothing for it; what is due is told under the lock of
its conversation, in the transaction that remembers it. Works on any number of processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import Catalog, CatalogCache
from app.conversations import queries, replies, ways
from app.db import Database, part_of
from app.errors import Problem
from app.feedback import announcements, notices
from app.feedback.announcements import Situation
from app.models import Agent, Announcement, AnnouncementPolicy, Conversation
from app.models.progress import Announced
from app.models.words import MessageKind
from app.sla import book

TOLD = Counter("roundtrip_announcements_total", "Notices to customers, by what they tell and what became of it", ["what", "outcome"])  # fmt: skip
PAGE = 2_000
BATCH = 20
_GAP_S = 0.2
_BUSY_S = 0.05
_AGAIN_S = 300
_STALE_H = 1
_KEPT_DAYS = 30
_READY = "v.pos < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"
_logger = log.get("announcing")

# Nothing that happened before there was a policy is told.
_START = text(f"""
    INSERT INTO announcement_cursor(id, pos, event_id)
    SELECT 1, coalesce(max(newest.pos), 0), coalesce(max(newest.id), 0)
    FROM (SELECT v.pos, v.id FROM event v WHERE {_READY} ORDER BY v.pos DESC, v.id DESC LIMIT 1) AS newest
    ON CONFLICT (id) DO UPDATE SET pos = excluded.pos, event_id = excluded.event_id
""")
_HAS_CURSOR = text("SELECT EXISTS (SELECT 1 FROM announcement_cursor)")
# A statement of its own: the next one sees all that was committed before the cursor was ours.
_HOLD = text("""
    SELECT s.id FROM announcement_cursor s
    WHERE EXISTS (SELECT 1 FROM event v WHERE (v.pos, v.id) > (s.pos, s.event_id)) FOR UPDATE SKIP LOCKED
""")
_FOLLOW = text(f"""
    WITH page AS MATERIALIZED (
        SELECT v.pos, v.id, v.conversation_id, v.channel_id, v.created_at, CASE v.type
            WHEN 'conversation.created' THEN ARRAY['created']
            WHEN 'conversation.assigned' THEN CASE
                WHEN v.payload->>'how' = 'reopen' THEN NULL
                WHEN v.payload->>'how' IN ('transfer', 'supervisor') THEN ARRAY['assigned', 'transferred']
                ELSE ARRAY['assigned'] END
            WHEN 'conversation.reopened' THEN CASE WHEN v.actor_type <> 'contact' THEN ARRAY['reopened'] END
            WHEN 'conversation.updated' THEN CASE
                WHEN v.payload->'transfer'->>'queue_id' IS NOT NULL THEN ARRAY['transferred']
                WHEN v.payload->'changed' ? 'status' AND v.payload->'conversation'->>'status' = 'on_hold'
                    THEN ARRAY['on_hold'] END
            END AS found  -- passed to an agent is told once they have taken it: until then nothing has changed hands
        FROM announcement_cursor s
        CROSS JOIN LATERAL (
            SELECT v.* FROM event v WHERE (v.pos, v.id) > (s.pos, s.event_id) AND {_READY}
            ORDER BY v.pos, v.id LIMIT {PAGE}
        ) v
    ), moved AS (
        UPDATE announcement_cursor s SET pos = last.pos, event_id = last.id
        FROM (SELECT pos, id FROM page ORDER BY pos DESC, id DESC LIMIT 1) AS last
    ), news AS (
        SELECT conversation_id, bool_or(news = 'created') AS created,
               coalesce(array_agg(DISTINCT news) FILTER (WHERE news <> 'created'), '{{}}') AS changes
        FROM page CROSS JOIN LATERAL unnest(page.found) AS news
        WHERE channel_id <> ALL(CAST(:silent AS uuid[]))
          AND created_at > now() - make_interval(hours => {_STALE_H})
        GROUP BY conversation_id
    ), kept AS (
        INSERT INTO announcement AS a (conversation_id, acknowledge, assigned, changes, told_at, due_at)
        SELECT conversation_id, created, 'assigned' = ANY(changes), changes, '{{}}', now() FROM news ORDER BY conversation_id
        ON CONFLICT (conversation_id) DO UPDATE
        SET acknowledge = a.acknowledge OR excluded.acknowledge, assigned = a.assigned OR excluded.assigned, due_at = now(),
            updated_at = now(), changes = ARRAY(SELECT DISTINCT c FROM unnest(a.changes || CASE
                WHEN a.assigned THEN array_remove(excluded.changes, 'assigned') ELSE excluded.changes END) AS c)  -- first time only
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM page) AS read, (SELECT count(*) FROM kept) AS kept
""")
_DUE = text("SELECT conversation_id FROM announcement WHERE due_at <= now() ORDER BY due_at LIMIT :batch")
_NEXT = text(
    "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM announcement WHERE due_at IS NOT NULL"
)
_LOOK = text("""
    SELECT now() AS at, CAST(extract(epoch FROM now() - c.created_at) AS float8) AS age_s,
           CASE WHEN f.id IS NOT NULL THEN jsonb_build_object('direction', f.direction, 'kind', f.kind, 'text', left(f.text, 1000),
               'automatic', coalesce(f.content ? 'automatic', false)) END AS first,
           (SELECT max(m.created_at) FROM message m WHERE m.conversation_id = c.id AND m.direction = 'outbound'
            AND m.author_type = 'agent') AS wrote_at,
           EXISTS (SELECT 1 FROM conversation o WHERE o.contact_id = c.contact_id AND o.status NOT IN ('resolved', 'closed')
                   AND o.channel_type = ANY(CAST(:live AS text[]))
                   AND o.last_inbound_at > now() - make_interval(secs => :gap)) AS live
    FROM conversation c LEFT JOIN message f ON f.conversation_id = c.id AND f.seq = 1
    WHERE c.id = :id
""")
_FORGET = text(
    f"DELETE FROM announcement WHERE due_at IS NULL AND updated_at < now() - make_interval(days => {_KEPT_DAYS})"
)


async def start(session: AsyncSession) -> None:
    """From now on: what happened before is not told."""
    await session.execute(_START)


async def forget(session: AsyncSession) -> None:
    """What was told long ago."""
    await session.execute(_FORGET)


class Announcer:
    """`link` makes the address of a matter's page. While nothing may be told by any policy, the log is not read."""

    def __init__(self, database: Database, catalog: CatalogCache, *, link: Callable[[UUID], str]) -> None:
        self._database, self._catalog, self._link = database, catalog, link
        self._started = False
        self._last = 0.0

    async def step(self) -> float | None:
        """Read the log, then tell what is due. Steps are a little apart, so that one carries many events."""
        if (early := self._last + _GAP_S - time.monotonic()) > 0:
            await asyncio.sleep(early)
        self._last = time.monotonic()
        catalog = await self._catalog.current()
        blocked, more = False, False
        concerned = _concerned(catalog)
        if concerned:
            blocked, more = await self._follow(catalog.channels.keys() - concerned)
        wait = await self._tell_due(catalog)
        if more:
            return 0
        if blocked:
            return _BUSY_S
        return wait

    async def _follow(self, silent: Iterable[UUID]) -> tuple[bool, bool]:
        """Whether a running transaction keeps us from reading on, and whether there is more than a page.

        Left out is only what happens on the channels `silent`: one that we have not heard of yet was made a moment ago.
        """
        async with self._database.begin() as session:
            if not self._started and not (await session.execute(_HAS_CURSOR)).scalar_one():
                await start(session)
            self._started = True
            if (await session.execute(_HOLD)).first() is None:
                return False, False
            row = (await session.execute(_FOLLOW, {"silent": list(silent)})).one()
        return row.read == 0, row.read == PAGE

    async def _tell_due(self, catalog: Catalog) -> float | None:
        """Seconds until the next one is due."""
        async with self._database.begin() as session:
            due = (await session.execute(_DUE, {"batch": BATCH})).scalars().all()
            held = await queries.try_lock_many(session, due) if due else []
            for conversation in held:
                await self._settle(session, conversation, catalog)
            await session.flush()
            if due and len(held) < len(due):
                await _drop_strays(session, due)
            seconds: float | None = (await session.execute(_NEXT)).scalar()
        if seconds is None:
            return None
        return max(seconds, 0 if held else _BUSY_S)

    async def _settle(self, session: AsyncSession, conversation: Conversation, catalog: Catalog) -> None:
        row, conversation_id = await _due_row(session, conversation), conversation.id
        if row is None:
            return
        try:
            async with part_of(session):
                await self._decide(session, conversation, row, catalog)
                session.add(row)
        except Exception as error:  # the others go on
            _logger.error("not announced", conversation_id=conversation_id, error=repr(error), exc_info=True)
            await session.refresh(row)
            row.due_at = await _moment(session) + timedelta(seconds=_AGAIN_S)
            session.add(row)

    async def _decide(
        self, session: AsyncSession, conversation: Conversation, row: Announcement, catalog: Catalog
    ) -> None:
        """Acknowledge, then tell of changes; what is not told now waits for its time, or is let go."""
        policy = announcements.choose(catalog.announcements, await book.facts(session, conversation))
        seen = await _look(session, conversation, policy)
        told = announcements.lately(row.told_at, seen.at)
        if row.acknowledge:
            row.acknowledge = False
            if announcements.acknowledges(
                policy,
                first=seen.first,
                status=conversation.status,
                replied=conversation.first_replied_at is not None,
                age_s=seen.age_s,
            ) and await self._send(session, conversation, Announced.ACKNOWLEDGED, seen, catalog):
                told = [*told, seen.at]
        situation = Situation(
            at=seen.at,
            status=conversation.status,
            in_hand=conversation.assignee_id is not None,
            told_at=told,
            wrote_at=seen.wrote_at,
            live=seen.live,
        )
        decision = announcements.decide(policy, row.changes, situation)
        if decision.what is not None and await self._send(session, conversation, decision.what, seen, catalog):
            told = [*told, seen.at]
        row.told_at, row.due_at, row.updated_at = told, decision.again_at, seen.at
        if decision.again_at is None:
            row.changes = []

    async def _send(
        self, session: AsyncSession, conversation: Conversation, what: Announced, seen: Any, catalog: Catalog
    ) -> bool:
        """False when it cannot go out: then nothing is stored, and nobody is asked to look after it."""
        contact = await queries.contact_of(session, conversation)
        handler = await session.get(Agent, conversation.assignee_id) if conversation.assignee_id else None
        link = self._link(conversation.id)
        way = await ways.find(session, conversation, claim=True)
        account = catalog.channels.get(conversation.channel_id)
        notice = notices.write(
            what,
            own=catalog.announcement_texts,
            channel_type=conversation.channel_type,
            by=way.channel_type if way else None,
            language=contact.language,
            written=seen.first["text"] if seen.first else "",
            otherwise=getattr(account.config, "language", None) if account else None,
            link=link,
            name=contact.name,
            subject=conversation.subject,
            handler_role=handler.role if handler else None,
        )
        try:
            await replies.send(
                session,
                conversation,
                author=None,
                kind=MessageKind.NOTICE,
                text=notice.text,
                subject=notice.subject,
                content={"notice": {"what": what.value, "url": link}},
            )
        except Problem as problem:
            TOLD.labels(what.value, problem.code).inc()
            _logger.info("not told", conversation_id=conversation.id, what=what.value, why=problem.code)
            return False
        TOLD.labels(what.value, "sent").inc()
        return True


def _concerned(catalog: Catalog) -> set[UUID]:
    """Channels on which anything may be told."""
    return {
        account.id
        for account in catalog.channels.values()
        if announcements.may_tell(catalog.announcements, account.type)
    }


async def _due_row(session: AsyncSession, conversation: Conversation) -> Announcement | None:
    """Again, now that nobody else can take it."""
    found = await session.exec(
        select(Announcement)
        .where(
            col(Announcement.conversation_id) == conversation.id,
            col(Announcement.due_at) <= func.now(),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found.one_or_none()


async def _look(session: AsyncSession, conversation: Conversation, policy: AnnouncementPolicy | None) -> Any:
    gap = max(policy.min_gap_s, 60.0) if policy else 60.0
    asked = {"id": conversation.id, "live": list(announcements.LIVE), "gap": gap}
    return (await session.execute(_LOOK, asked)).one()


async def _moment(session: AsyncSession) -> datetime:
    found: datetime = (await session.execute(text("SELECT now()"))).scalar_one()
    return found


async def _drop_strays(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """Rows of conversations that are gone would come first for ever."""
    gone = text(
        "DELETE FROM announcement a WHERE a.conversation_id = ANY(CAST(:ids AS uuid[])) "
        "AND NOT EXISTS (SELECT 1 FROM conversation c WHERE c.id = a.conversation_id)"
    )
    await session.execute(gone, {"ids": list(ids)})
