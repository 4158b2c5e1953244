"""Why a conversation went to whom: each decision with its candidates and who was left out, and how it stands now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import rfc3339
from app.db import driver
from app.events.shapes import moment
from app.models import Conversation, Offer, RoutingDecision
from app.routing.choose import LOOK, AgentView, Candidate, Decision, LeftOut, Waiting, choose

_SHOWN_LEFT_OUT = 50
_ENTRY = (
    "SELECT e.*, q.skills AS queue_skills, c.assignee_id, p.language, "
    "extract(epoch FROM now() - e.enqueued_at)::float8 AS waited_s "
    "FROM queue_entry e JOIN queue q ON q.id = e.queue_id JOIN conversation c ON c.id = e.conversation_id "
    "JOIN contact p ON p.id = c.contact_id WHERE e.conversation_id = $1"
)
_AGENTS = (
    "SELECT a.id, a.role, a.active, a.availability, a.capacity, a.load, a.last_offered_at, a.skills, a.languages, "
    "ARRAY(SELECT m.queue_id FROM queue_member m WHERE m.agent_id = a.id) AS queues, "
    "EXISTS (SELECT 1 FROM agent_session s WHERE s.agent_id = a.id AND s.closed_at IS NULL AND s.lease_until > now()) "
    "AS present FROM agent a WHERE a.active"
)


def view(row: Mapping[str, Any]) -> AgentView:
    """An agent's row, with `queues` and `present`, as the decider sees it."""
    return AgentView(
        id=row["id"],
        role=row["role"],
        queues=frozenset(row["queues"]),
        capacity=row["capacity"],
        load=row["load"],
        availability=row["availability"],
        active=row["active"],
        present=row["present"],
        idle_since=row["last_offered_at"],
        skills=frozenset(row["skills"]),
        languages=frozenset(row["languages"]),
    )


def explanation(entry: Waiting, decision: Decision, aside: Mapping[UUID, LeftOut]) -> dict[str, Any]:
    """What is kept of a choice (pure). `aside` are agents who took no offers at all. Long lists are cut, counts not."""
    left_out = {**decision.left_out, **aside}
    counts: dict[str, int] = {}
    for reason in left_out.values():
        counts[reason.value] = counts.get(reason.value, 0) + 1
    return {
        "weight": decision.weight,
        "escalated": entry.escalated,
        "target_agent_id": _text(entry.target_agent_id),
        "skills": sorted(entry.skills),
        "language": entry.language,
        "waited_s": round(entry.waited_s, 3),
        "kept_agent_id": _text(decision.kept_agent_id),
        "eligible": len(decision.candidates),
        "more_were_eligible": len(decision.candidates) == LOOK,
        "candidates": [_candidate(candidate) for candidate in decision.candidates[:LOOK]],
        "left_out": counts,
        "exclusions": [
            {"agent_id": str(agent_id), "reason": reason.value}
            for agent_id, reason in list(left_out.items())[:_SHOWN_LEFT_OUT]
        ],
    }


async def routing(session: AsyncSession, conversation: Conversation) -> dict[str, Any]:
    """The body of `GET .../routing`: decisions oldest first, and for a waiting one what would be chosen now."""
    found = await session.execute(
        select(RoutingDecision, Offer)
        .outerjoin(Offer, col(Offer.id) == col(RoutingDecision.offer_id))
        .where(col(RoutingDecision.conversation_id) == conversation.id)
        .order_by(col(RoutingDecision.created_at), col(RoutingDecision.id))
    )
    entry = await (await driver(session)).fetchrow(_ENTRY, conversation.id)
    return {
        "conversation_id": str(conversation.id),
        "owner_id": _text(conversation.owner_id),
        "assignee_id": _text(conversation.assignee_id),
        "entry": _entry(entry) if entry else None,
        "decisions": [_decided(decision, offer) for decision, offer in found.all()],
        "now": await _now(session, entry) if entry and entry["state"] == "waiting" else None,
    }


async def _now(session: AsyncSession, entry: Mapping[str, Any]) -> dict[str, Any]:
    agents = await (await driver(session)).fetch(_AGENTS)
    waiting = waiting_from(entry, [*entry["skills"], *entry["queue_skills"]])
    decision = choose(waiting, map(view, agents))
    return {"agent_id": _text(decision.agent_id), **explanation(waiting, decision, {})}


def waiting_from(row: Mapping[str, Any], skills: list[str]) -> Waiting:
    """An entry's row as the decider sees it; `skills` are its own and its queue's."""
    return Waiting(
        conversation_id=row["conversation_id"],
        queue_id=row["queue_id"],
        weight=row["weight"],
        skills=frozenset(skills),
        language=row["language"],
        escalated=row["escalated"],
        assignee_id=row["assignee_id"],
        target_agent_id=row["target_agent_id"],
        excluded=frozenset(map(UUID, row["excluded"])),
        waited_s=row["waited_s"],
    )


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "queue_id": str(row["queue_id"]),
        "state": row["state"],
        "weight": row["weight"],
        "escalated": row["escalated"],
        "target_agent_id": _text(row["target_agent_id"]),
        "excluded": row["excluded"],
        "note": row["note"],
        "enqueued_at": moment(row["enqueued_at"]),
        "order_at": moment(row["order_at"]),
    }


def _decided(decision: RoutingDecision, offer: Offer | None) -> dict[str, Any]:
    return {
        "id": str(decision.id),
        "created_at": moment(decision.created_at),
        "queue_id": str(decision.queue_id),
        "agent_id": _text(decision.agent_id),
        "offer": None
        if offer is None
        else {
            "id": str(offer.id),
            "status": offer.status,
            "reason": offer.reason,
            "weight": offer.weight,
            "expires_at": moment(offer.expires_at),
            "decided_at": moment(offer.decided_at),
        },
        **decision.explanation,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "agent_id": str(candidate.agent_id),
        "supervisor": candidate.supervisor,
        "speaks": candidate.speaks,
        "utilisation": round(candidate.utilisation, 4),
        "idle_since": rfc3339(candidate.idle_since) if candidate.idle_since else None,
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
