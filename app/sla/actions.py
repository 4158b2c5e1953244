"""What a stage asks for becomes a row in the transaction in which it fires; a loop further up does it, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.ids import new_id
from app.models import SlaPolicy
from app.sla import stages
from app.sla.policy import Facts, applies
from app.wakeups import wake

TOPIC = "sla-actions"
_ASK = text("""
    INSERT INTO sla_action(id, clock_id, conversation_id, policy_id, metric, stage, position, kind, level, action, state,
                           attempts)
    SELECT id, clock_id, conversation_id, policy_id, metric, stage, position, kind, level, action, 'pending', 0
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS x(id uuid, clock_id uuid, conversation_id uuid, policy_id uuid, metric text, stage int, position int, kind text,
              level int, action jsonb)
    ON CONFLICT DO NOTHING
""")


class Fired(NamedTuple):
    """A stage of a clock that has come; `stage` counts from 1."""

    clock_id: UUID
    conversation_id: UUID
    policy_id: UUID
    metric: str
    target_s: int
    stage: int


async def ask(
    session: AsyncSession,
    fired: Sequence[Fired],
    facts: Mapping[UUID, Facts],
    policies: Mapping[UUID, SlaPolicy],
) -> None:
    """One statement for all of them; none when nothing is asked for. `facts` are those of the conversations."""
    rows = [row for one in fired for row in _rows(one, facts.get(one.conversation_id, {}), policies[one.policy_id])]
    if rows:
        await session.execute(_ASK, {"rows": orjson.dumps(rows, default=str).decode()})
        await wake(session, TOPIC)


def _rows(fired: Fired, facts: Facts, policy: SlaPolicy) -> list[dict[str, Any]]:
    stage = stages.plan(policy, fired.target_s).stages[fired.stage - 1]
    of = {"clock_id": fired.clock_id, "conversation_id": fired.conversation_id, "policy_id": fired.policy_id}
    told = {"metric": fired.metric, "stage": fired.stage, "kind": stage.kind, "level": stage.level}
    return [
        {**of, **told, "id": new_id(), "position": position, "action": {k: v for k, v in action.items() if k != "if"}}
        for position, action in enumerate(stage.do)
        if applies(action, facts)
    ]
