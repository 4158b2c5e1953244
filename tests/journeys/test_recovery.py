"""Who was not content, over the wire: the supervisors' desks hear of it in time, and the customer says whether it helped."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.providers import PartnerSystem
from tests.support.sockets import Desk

REMEDY = "A voucher for your next order."


@pytest.fixture
async def partner() -> AsyncIterator[PartnerSystem]:
    system = PartnerSystem()
    await system.start()
    yield system
    await system.stop()


@pytest.fixture
async def chief(team: Team) -> AsyncIterator[Desk]:
    """A supervisor of the queue, who listens."""
    made = await team.server.make_agent("Sue Pervisor", role="supervisor", queue_ids=[team.queue_id])
    async with Desk(team.server.socket_base, made["token"]) as desk:
        yield desk


async def closed_with_a_low_score(team: Team, partner: PartnerSystem) -> str:
    """The conversation's id; a recovery is due at once here, and so is a follow-up's end."""
    queue = await team.server.api("GET", f"/queues/{team.queue_id}")
    quick = {"match": {"queue": [queue["name"]]}, "position": 1, "recovery_due_s": 0.5, "follow_up_grace_s": 0.5}
    await team.server.api("POST", "/closing-policies", {"code": secrets.token_hex(4), "name": "Quick", **quick})
    config = {"secret": partner.secret, "callback_url": partner.base + "/callback"}
    channel = await team.server.make_channel("partner", config, queue_id=team.queue_id)
    item = {"id": secrets.token_hex(6), "from": {"id": "grace", "name": "Grace"}, "text": "The hinge is loose."}
    async with httpx.AsyncClient() as client:
        await partner.post(client, channel["webhook_url"], item)
        conversation = await steps.take(team, "hinge")
        await steps.resolve(team, conversation["id"])
        receipt = await partner.expect(lambda body: body["data"].get("receipt") is not None)
        link = steps.link_in(receipt["data"]["message"]["text"])
        answered = await client.post(link, data={"outcome": "confirmed", "csat": "1"})
    assert answered.status_code == 200
    return str(conversation["id"])


async def patch(team: Team, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """As the administrator, from the version that is there."""
    headers = {"Authorization": f"Bearer {team.server.admin}"}
    async with httpx.AsyncClient(base_url=f"{team.server.base}/api/v1", headers=headers, timeout=20) as client:
        version = (await client.get(path)).headers["etag"]
        answer = await client.patch(path, json=body, headers={"If-Match": version})
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


async def test_made_good_and_confirmed(team: Team, partner: PartnerSystem, chief: Desk) -> None:
    conversation_id = await closed_with_a_low_score(team, partner)
    opened = await chief.expect("recovery.opened")
    assert (opened["conversation_id"], opened["task"]["cause"]) == (conversation_id, "low_score")
    assert opened["task"]["assignee_id"] is not None
    late = await chief.expect("recovery.overdue")
    assert late["task"]["id"] == opened["task"]["id"]
    path = f"/recovery-tasks/{opened['task']['id']}"
    done = await patch(team, path, {"state": "done", "remedy": "compensation", "text": REMEDY})
    assert done["asked_at"] is not None
    asked = await partner.expect(lambda body: REMEDY in body["data"]["message"]["text"])
    async with httpx.AsyncClient() as client:
        again = steps.link_in(asked["data"]["message"]["text"])
        assert REMEDY in (await client.get(again)).text
        assert (await client.post(again, data={"outcome": "confirmed"})).status_code == 200
    told = await chief.expect("recovery.updated", lambda frame: frame["task"]["state"] == "confirmed")
    assert told["task"]["via"] == "page"
    assert not [frame for frame in team.desk.events if frame["type"].startswith("recovery.")]


async def test_a_promised_call_is_due_and_missed_at_the_desks(team: Team, partner: PartnerSystem, chief: Desk) -> None:
    conversation_id = await closed_with_a_low_score(team, partner)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    body = {"due_at": soon.isoformat(), "kind": "call", "note": "is the hinge tight?"}
    made = await team.server.api(
        "POST", f"/conversations/{conversation_id}/follow-ups", body, token=team.agent["token"]
    )
    await team.desk.expect("follow_up.planned")
    due = await team.desk.expect("follow_up.due")
    assert (due["follow_up"]["id"], due["follow_up"]["note"]) == (made["id"], "is the hinge tight?")
    await team.desk.expect("follow_up.missed")
    await chief.expect("follow_up.missed", lambda frame: frame["follow_up"]["id"] == made["id"])
