"""Closing the loop where the customer is: confirmed, rated, gone on with, not solved, asked again, silent, and followed up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.sides import Mail, OfficialAccount, Side, Site, WeCom, WhatsApp, policy

Json = dict[str, Any]
KINDS = [Site, Mail, WhatsApp, WeCom, OfficialAccount]


async def is_same_owner(team: Team, conversation_id: str, *, cycle: int) -> None:
    found = await team.server.api("GET", f"/conversations/{conversation_id}")
    assert (found["owner_id"], found["assignee_id"], found["cycle"]) == (team.agent["id"], team.agent["id"], cycle)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.lower())
async def test_three_cycles(team: Team, kind: type[Side]) -> None:
    """Confirmed and rated, gone on with, not solved, gone on with, asked again, silent, and followed up."""
    async with kind(team) as side:
        await _three_cycles(team, side)


async def _three_cycles(team: Team, side: Side) -> None:
    question = f"The door is scratched {side.person}"
    await side.write(question)
    matter = (await steps.take(team, question))["id"]

    def of_matter(frame: Json) -> bool:
        return bool(frame["conversation_id"] == matter)

    await steps.resolve(team, matter)
    [first] = await side.receipts(1)
    await side.answer(first, "confirmed")
    await team.desk.expect("conversation.closed", of_matter)
    await side.write("5")
    rated = await team.desk.expect("feedback.received", lambda frame: frame["ratings"].get("csat") == 5)
    assert rated["conversation_id"] == matter
    assert (await team.server.api("GET", f"/conversations/{matter}"))["status"] == "closed", "a rating reopens nothing"

    await side.write("It came off again, please help me")
    await team.desk.expect("conversation.reopened", of_matter)
    await is_same_owner(team, matter, cycle=2)
    await steps.resolve(team, matter)
    second = (await side.receipts(2))[1]
    if side.buttons:
        await _old_buttons(team, side, first, matter)
    await side.answer(second, "rejected")
    reopened = await team.desk.expect("conversation.reopened", of_matter)
    assert reopened["reason"] == "rejected"
    await is_same_owner(team, matter, cycle=3)

    await policy(team, remind_after_s=[1], confirm_after_s=6, reopen_window_s=0)
    await steps.resolve(team, matter)
    await side.receipts(4)
    closed = await team.desk.expect("conversation.closed", of_matter, within=60)
    assert closed["via"] == "timeout"
    await side.write("And now the lamp, please help me")
    followed = await team.desk.expect(
        "conversation.created", lambda frame: frame["conversation"]["follows_id"] == matter
    )
    assert followed["conversation_id"] != matter
    await _facts(team, side, matter)


async def _old_buttons(team: Team, side: Side, first: Any, matter: str) -> None:
    """The first receipt is history, however often its buttons are pressed: it is kept, once, and moves nothing."""
    await side.press(first, "rejected")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == side.words["rejected"])
    for outcome in ("confirmed", "rejected"):
        await side.press(first, outcome)
    found = await team.server.api("GET", f"/conversations/{matter}")
    assert (found["status"], found["cycle"]) == ("resolved", 2)
    kept = (await team.server.api("GET", f"/conversations/{matter}/messages?limit=100"))["items"]
    assert [item["text"] for item in kept].count(side.words["rejected"]) == 1


async def _facts(team: Team, side: Side, matter: str) -> None:
    """Three cycles, three receipts and one reminder; the figures are those of what happened."""
    kept = (await team.server.api("GET", f"/conversations/{matter}/messages?limit=100"))["items"]
    asked = [item for item in kept if item["kind"] == "receipt"]
    assert len(asked) == 4
    assert all(item.get("error_code") is None for item in asked)
    channel = side.channel["id"]
    total = (await team.server.api("GET", f"/reports/outcomes?channel_id={channel}"))["total"]
    wanted = {"resolved": 3, "matters": 1, "confirmed": 2, "by_silence": 1, "rejected": 1, "reopened": 2}
    assert {name: total[name] for name in wanted} == wanted
    assert (total["first_contact"], total["ratings"], total["csat_average"]) == (0, 1, 5.0)
