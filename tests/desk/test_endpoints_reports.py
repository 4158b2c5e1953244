"""Reports, and what became of the actions of clocks, as supervisors see them."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.channels.signatures import webhook_key
from app.models import SlaAction, SlaAttainmentDelta, SlaClock, SlaPolicy
from app.models.words import ActionState
from app.sla.attainment import Folder
from tests.desk.house import Caller, House

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).date()


async def deltas(house: House, *rows: dict[str, Any]) -> SlaPolicy:
    async with house.database.begin() as session:
        policy = (await session.exec(select(SlaPolicy).where(col(SlaPolicy.code) == "ordinary"))).one()
    of = {"policy_id": policy.id, "metric": "resolution", "channel_id": await house.channel(), "day": TODAY}
    counted = {"met": 0, "breached": 0, "late": 0, "elapsed_us": 0}
    await house.add(*(SlaAttainmentDelta(**{**of, **counted, **row}) for row in rows))
    return policy


async def test_the_last_thirty_days_by_policy(house: House, supervisor: Caller) -> None:
    await deltas(
        house,
        {"met": 2, "elapsed_us": 3_000_000},
        {"breached": 1},
        {"late": 1, "elapsed_us": 6_000_000},
        {"met": 1, "day": TODAY - 29 * DAY},
        {"met": 100, "day": TODAY - 30 * DAY},
    )
    figures = {"met": 3, "breached": 1, "late": 1, "attainment": 75.0, "average_s": 2.25, "total_s": 9.0}
    wanted = {
        "from": str(TODAY - 29 * DAY),
        "to": str(TODAY),
        "by": ["policy"],
        "total": figures,
        "items": [{**figures, "policy": "ordinary"}],
        "cut_off": False,
    }
    assert await supervisor.get("/reports/sla") == wanted
    await Folder(house.database).step()
    assert await supervisor.get("/reports/sla") == wanted


async def test_cut_and_filtered(house: House, supervisor: Caller) -> None:
    queue_id = await house.queue("Repairs")
    await deltas(
        house,
        {"met": 1, "queue_id": queue_id, "agent_id": supervisor.id},
        {"breached": 2},
        {"met": 4, "metric": "handling"},
    )
    found = await supervisor.get(
        "/reports/sla", params={"by": ["queue", "day", "agent", "queue"], "metric": "resolution"}
    )
    assert found["by"] == ["queue", "day", "agent"]
    assert [(item["queue"], item["day"], item["agent"], item["met"], item["breached"]) for item in found["items"]] == [
        (None, str(TODAY), None, 0, 2),
        ({"id": str(queue_id), "name": "Repairs"}, str(TODAY), {"id": str(supervisor.id), "name": "Ada"}, 1, 0),
    ]
    assert "policy" not in found["items"][0]
    by_channel = await supervisor.get("/reports/sla", params={"by": "channel", "queue_id": str(queue_id)})
    assert by_channel["items"][0]["channel"] == {"id": str(house.channel_id), "name": "Partner", "type": "partner"}
    for name, value, met in [("policy", "ordinary", 5), ("policy", "x", 0), ("agent_id", str(supervisor.id), 1)]:
        assert (await supervisor.get("/reports/sla", params={name: value}))["total"]["met"] == met
    nothing = await supervisor.get("/reports/sla", params={"from": "2026-01-01", "to": "2026-01-01"})
    assert (nothing["items"], nothing["total"]["attainment"], nothing["total"]["average_s"]) == ([], None, None)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "2000-01-01", "to": "2026-02-01"}, "from"),
        ({"from": "soon"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"by": "mood"}, "by"),
        ({"metric": "mood"}, "metric"),
    ],
)
async def test_refused(supervisor: Caller, params: dict[str, str], field: str) -> None:
    answer = (await supervisor.call("GET", "/reports/sla", params=params, expect=422)).json()
    assert field in str(answer.get("field") or answer["errors"])


async def test_not_for_agents(house: House) -> None:
    agent = await house.agent()
    for path in ("/reports/sla", "/sla-actions", "/webhook-secret"):
        await agent.call("GET", path, expect=403)


async def action(house: House, **fields: Any) -> SlaAction:
    conversation_id = await house.conversation(await house.default_queue())
    async with house.database.begin() as session:
        policy = (await session.exec(select(SlaPolicy).where(col(SlaPolicy.code) == "ordinary"))).one()
    clock = SlaClock(conversation_id=conversation_id, policy_id=policy.id, metric="resolution", target_s=60)
    of: dict[str, Any] = {
        "clock_id": clock.id,
        "conversation_id": conversation_id,
        "policy_id": policy.id,
        "metric": "resolution",
    }
    made = SlaAction(**of, stage=1, position=0, kind="breached", level=1, **fields)
    await house.add(clock, made)
    return made


async def test_dead_calls_are_listed_and_tried_again(house: House, admin: Caller, supervisor: Caller) -> None:
    dead = await action(
        house,
        action={"webhook": "https://example.com/"},
        state=ActionState.DEAD,
        attempts=9,
        error="answered 500",
        done_at=datetime.now(UTC),
    )
    done = await action(house, action={"priority": 3}, state=ActionState.DONE)
    assert [item["id"] for item in await supervisor.all("/sla-actions")] == [str(done.id), str(dead.id)]
    [item] = await supervisor.all("/sla-actions", state="dead")
    assert (item["action"], item["error"], item["attempts"]) == ({"webhook": "https://example.com/"}, "answered 500", 9)
    [item] = await supervisor.all("/sla-actions", conversation_id=str(done.conversation_id))
    assert item["id"] == str(done.id)
    await supervisor.call("POST", f"/sla-actions/{dead.id}/retry", expect=403)
    answer = (await admin.call("POST", f"/sla-actions/{dead.id}/retry", expect=200)).json()
    assert (answer["id"], answer["state"], answer["done_at"]) == (str(dead.id), "pending", None)
    for refused in (dead.id, done.id):
        await admin.call("POST", f"/sla-actions/{refused}/retry", expect=409)
    async with house.database.begin() as session:
        said = (await session.execute(text("SELECT type FROM event WHERE scope = 'audit'"))).scalars().all()
    assert "sla_action.retried" in said


async def test_the_secret_by_which_receivers_know_us(house: House, admin: Caller, supervisor: Caller) -> None:
    await supervisor.call("GET", "/webhook-secret", expect=403)
    answer = await admin.call("GET", "/webhook-secret", expect=200)
    assert answer.headers["cache-control"] == "no-store"
    key = house.context.vault.webhook_key
    assert answer.json() == {"secret": "whsec_" + b64encode(key).decode()}
    assert webhook_key(answer.json()["secret"]) == key
