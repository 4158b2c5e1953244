"""`/sla-policies`: what they say beyond the two old limits, and applying one to what is open."""

from __future__ import annotations

from typing import Any

import pytest

from app.conversations import queries
from app.conversations.limits import Applier
from app.sla import clocks
from tests.desk.house import Caller, House

HOUR = 3_600
OWN = {"code": "own", "name": "Own", "position": 1, "first_response_s": 60}
NOBODY = "00000000-0000-7000-8000-000000000000"


async def test_everything_that_a_policy_can_say(admin: Caller) -> None:
    said = {
        "next_response_s": 600,
        "periodic_update_s": HOUR,
        "follow_up_s": HOUR,
        "analysis_s": HOUR,
        "handling_s": 60,
        "pauses": ["on_hold"],
        "warnings": [{"percent": 50}, {"before_s": 60, "do": [{"notify": "owner"}]}],
    }
    escalations = [
        {"after_s": 3600, "do": [{"webhook": "https://example.org/late"}]},
        {"after_s": 0, "do": [{"requeue": True, "if": {"category": ["urgent"]}}, {"priority": 2}]},
    ]
    made = await admin.post("/sla-policies", {**OWN, **said, "escalations": escalations})
    assert {name: made[name] for name in said} == said
    assert made["escalations"] == [{**escalations[1], "level": 1}, {**escalations[0], "level": 2}]
    assert made["warn_percent"] == 50
    changed = await admin.patch(f"/sla-policies/{made['id']}", 1, {"warn_percent": 90, "handling_s": None})
    assert (changed["warnings"], changed["handling_s"]) == ([{"percent": 90}], None)
    kept = {name: value for name, value in said.items() if name not in ("warnings", "handling_s")}
    assert {name: changed[name] for name in kept} == kept
    assert changed["escalations"] == made["escalations"]


async def test_what_is_not_said_is_the_default(admin: Caller) -> None:
    made = await admin.post("/sla-policies", OWN)
    assert (made["warnings"], made["calendar_id"]) == ([{"percent": 80}], None)
    assert [level["do"] for level in made["escalations"]] == [[{"requeue": True, "if": {"category": ["urgent"]}}]]
    assert made["pauses"] == ["waiting_on_customer", "on_hold", "snoozed"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"warnings": [{}]}, "warnings"),
    ({"warnings": [{"percent": 100}]}, "warnings.0.percent"),
    ({"warnings": [{"percent": 50}], "warn_percent": 80}, "warn_percent"),
    ({"escalations": [{"after_s": 0}, {"after_s": 0}]}, "escalations"),
    ({"escalations": [{"after_s": 60, "level": 7}]}, "escalations"),
    ({"escalations": [{"after_s": 60, "do": [{"add_team": NOBODY}]}]}, "escalations"),
    ({"calendar_id": NOBODY}, "calendar_id"),
    ({"pauses": ["resolved"]}, "pauses.0"),
    ({"match": {"channel_type": ["email", "nope"]}}, "match.channel_type.1"),
]


@pytest.mark.parametrize(("more", "field"), REFUSED)
async def test_refusals_name_the_field(admin: Caller, more: dict[str, Any], field: str) -> None:
    problem = await admin.post("/sla-policies", {**OWN, **more}, expect=422)
    assert (problem["code"], problem["field"]) == ("invalid", field)


async def test_policies_for_closing_and_announcing_are_for_channels_that_there_are(admin: Caller) -> None:
    for path in ("/closing-policies", "/announcement-policies"):
        body = {"code": "own", "name": "Own", "match": {"channel_type": ["nope"]}}
        assert (await admin.post(path, body, expect=422))["field"] == "match.channel_type.0"


async def test_applying_a_policy_shows_how_far_it_has_come(house: House, admin: Caller) -> None:
    conversation_id = await house.conversation(await house.default_queue())
    async with house.database.begin() as session:
        await clocks.start(session, await queries.lock(session, conversation_id))
    made = await admin.post("/sla-policies", OWN)
    path = f"/sla-policies/{made['id']}/apply"
    await admin.call("GET", path, expect=404)
    job = await admin.post(path, {"to": "open"}, expect=202)
    assert (job["state"], job["seen"], job["changed"]) == ("running", 0, 0)
    assert (await admin.post(path, {"to": "open"}, expect=202))["id"] == job["id"], "it is running already"
    applier = Applier(house.context.database)
    while await applier.step() is not None:
        pass
    done = await admin.get(path)
    assert (done["id"], done["state"], done["seen"], done["changed"]) == (job["id"], "done", 1, 1)
    assert done["finished_at"]
    shown = await admin.get(f"/conversations/{conversation_id}/sla")
    first = next(item for item in shown["items"] if item["metric"] == "first_response")
    assert (first["target_s"], first["policy"]["code"], first["calendar"]) == (60, "own", "24x7")
    newer = await admin.patch(f"/sla-policies/{made['id']}", 1, {"first_response_s": 30})
    refused = (await admin.post(path, {"to": "open"}, expect=409))["code"]
    assert refused == "conflict"
    await admin.post(f"/sla-policies/{newer['id']}/apply", {"to": "all"}, expect=422)


async def test_why_which_policy_applies(house: House, admin: Caller) -> None:
    conversation_id = await house.conversation(await house.default_queue())
    await admin.post("/sla-policies", {**OWN, "match": {"tier": ["vip"], "queue": ["General"]}})
    first, *others = (await admin.get(f"/conversations/{conversation_id}/sla/policies"))["items"]
    assert (first["code"], first["version"], first["matches"]) == ("own", 1, False)
    assert first["against"] == [{"fact": "tier", "value": "standard", "accepted": ["vip"]}]
    assert (others[-1]["code"], others[-1]["matches"], others[-1]["against"]) == ("ordinary", True, [])
