"""Why a conversation went to whom: each decision with its candidates and who was left out, and how it stands now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.clock import rfc3339
from app.db import driver
from app.events.shapes import moment
from app.models import Conversation, Offer, RoutingDecision
from app.routing import hours, reading
from app.routing.choose import LOOK, choose, decided_by
from app.routing.reading import NAMED, Aside
from app.routing.views import AgentView, Candidate, Decision, LeftOut, Waiting


def beside(out: Aside, planned: Mapping[LeftOut, list[UUID]]) -> Aside:
    """Who is not in question for an entry: `out` take no offers at all, of those `planned` with the queue asks nothing."""
    found = dict(out)
    for reason, ids in planned.items():
        count, named = found.get(reason, (0, []))
        found[reason] = (count + len(ids), [*named, *ids[:NAMED]])
    return found


def explanation(entry: Waiting, decision: Decision, aside: Aside) -> dict[str, Any]:
    """What is kept of a choice (pure). `aside` are agents who were not in question. Long lists are cut, counts not."""
    counts = {reason.value: count for reason, (count, _) in aside.items()}
    for reason in decision.left_out.values():
        counts[reason.value] = counts.get(reason.value, 0) + 1
    named = [(agent_id, reason) for agent_id, reason in decision.left_out.items()]
    named += [(agent_id, reason) for reason, (_, ids) in aside.items() for agent_id in ids]
    return {
        "weight": decision.weight,
        "escalated": entry.escalated,
        "specialists": sorted(entry.specialists),
        "target_agent_id": _text(entry.target_agent_id),
        "preferred_agent_id": _text(entry.preferred_agent_id),
        "ring": entry.ring,
        "skills": sorted(entry.skills),
        "max_level": entry.max_level,
        "language": entry.language,
        "boosts": dict(entry.boosts),
        "waited_s": round(entry.waited_s, 3),
        "kept_agent_id": _text(decision.kept_agent_id),
        "awaited_agent_id": _text(decision.awaited_agent_id),
        "eligible": len(decision.candidates),
        "more_were_eligible": len(decision.candidates) == LOOK,
        "decided_by": decided_by(decision.candidates),
        "candidates": [_candidate(candidate) for candidate in decision.candidates[:LOOK]],
        "left_out": counts,
        "exclusions": [{"agent_id": str(agent_id), "reason": reason.value} for agent_id, reason in named[:NAMED]],
    }


async def routing(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> dict[str, Any]:
    """The body of `GET .../routing`: decisions oldest first, and for a waiting one what would be chosen now."""
    found = await session.execute(
        select(RoutingDecision, Offer)
        .outerjoin(Offer, col(Offer.id) == col(RoutingDecision.offer_id))
        .where(col(RoutingDecision.conversation_id) == conversation.id)
        .order_by(col(RoutingDecision.created_at), col(RoutingDecision.id))
    )
    connection = await driver(session)
    entry = await reading.entry(connection, conversation.id)
    waits = entry is not None and entry["state"] == "waiting"
    return {
        "conversation_id": str(conversation.id),
        "owner_id": _text(conversation.owner_id),
        "assignee_id": _text(conversation.assignee_id),
        "entry": _entry(entry) if entry else None,
        "decisions": [_decided(decision, offer) for decision, offer in found.all()],
        "now": _now(entry, await reading.agents(connection), catalog) if entry and waits else None,
    }


def _now(row: Mapping[str, Any], agents: list[AgentView], catalog: Catalog) -> dict[str, Any]:
    """`closed`: its queue is, until `opens_at`; what is escalated is for seniors and specialists all the same."""
    closed, opens_at = hours.closed(catalog.queue(row["queue_id"]), catalog, row["moment"])
    entry = replace(reading.waiting(row), closed=closed)
    decision = choose(entry, agents)
    return {
        "agent_id": _text(decision.agent_id),
        "closed": closed,
        "opens_at": moment(opens_at),
        **explanation(entry, decision, {}),
    }


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "queue_id": str(row["queue_id"]),
        "state": row["state"],
        "weight": row["weight"],
        "escalated": row["escalated"],
        "specialists": row["specialists"],
        "ring": row["ring"],
        "target_agent_id": _text(row["target_agent_id"]),
        "target_until": moment(row["target_until"]),
        "excluded": row["excluded"],
        "round_at": moment(row["round_at"]),
        "note": row["note"],
        "enqueued_at": moment(row["enqueued_at"]),
        "entered_at": moment(row["entered_at"]),
        "boosts": orjson.loads(row["boosts"]),
        "order_at": moment(row["order_at"]),
        "next_at": moment(row["next_at"]),
    }


def _decided(decision: RoutingDecision, offer: Offer | None) -> dict[str, Any]:
    """`kind` says what was done; of an offer, how it ended."""
    return {
        "id": str(decision.id),
        "kind": decision.kind,
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
        "graded": candidate.graded,
        "preferred": candidate.preferred,
        "speaks": candidate.speaks,
        "level": candidate.level,
        "utilisation": round(candidate.utilisation, 4),
        "idle_since": rfc3339(candidate.idle_since) if candidate.idle_since else None,
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
