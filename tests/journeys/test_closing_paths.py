"""What follows when a customer is not content, on their own channel or the one that stands in for it: a complaint put on
record and worked through, contacts that were promised, and what was made good twice, each time by their own word."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.sides import Mail, OfficialAccount, Side, Site, WhatsApp, policy
from tests.journeys.test_mail import text_of
from tests.support.meta import refusal
from tests.support.sockets import Desk, Frame

REMEDY = "A voucher for your next order."
WHYS = ["A leg broke.", "The joint is weak.", "Its screw is short.", "The list of parts is old.", "Nobody keeps it."]
KINDS = [Site, Mail, WhatsApp, OfficialAccount]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.lower())
async def test_what_follows_when_it_is_not_solved(team: Team, chief: Desk, kind: type[Side]) -> None:
    async with kind(team) as side:
        matter = await _complain(team, chief, side)
        await _call_back(team, chief, side, matter)
        await _work_on(team, chief, side, matter)
        await _compensate(team, chief, side, matter)
        await _file(team, side, matter)


async def test_by_mail_where_their_window_is_closed(team: Team, chief: Desk) -> None:
    """WhatsApp refuses the receipt, so it goes by mail, as does every other question; what they answer there counts."""
    async with WhatsApp(team) as phone, Mail(team) as mail:
        matter = await _known_by_both(team, phone, mail)
        await policy(team, recovery_due_s=0.3)
        phone.graph.script = [refusal(131047)]
        await steps.resolve(team, matter)
        [_, second] = await mail.receipts(2)
        assert steps.RECEIPT["resolution"] in text_of(second)
        await mail.answer(second, "rejected")
        reopened = await team.desk.expect("conversation.reopened", lambda frame: frame["conversation_id"] == matter)
        assert (reopened["reason"], reopened["conversation"]["owner_id"]) == ("rejected", team.agent["id"])
        await steps.resolve(team, matter)
        await mail.answer((await mail.receipts(3))[2], "confirmed")
        await team.desk.expect("conversation.closed", lambda frame: frame["conversation_id"] == matter)
        await _compensate(team, chief, mail, matter)
        kept = (await team.server.api("GET", f"/conversations/{matter}/messages?limit=100"))["items"]
        told = [(item.get("error_code"), item.get("instead")) for item in kept if item["kind"] == "receipt"]
        instead = {"channel_type": "whatsapp", "why": "window-closed", "by": "email"}
        assert told == [("window-closed", None), (None, instead), (None, instead), (None, instead)]
        assert phone.graph.sent == []


async def _known_by_both(team: Team, phone: WhatsApp, mail: Mail) -> str:
    """Somebody with an open matter on WhatsApp, who has had one by mail before."""
    before, question = f"The lamp is dark {mail.person}", f"The door is scratched {phone.person}"
    await mail.write(before)
    over = await steps.take(team, before)
    await steps.resolve(team, over["id"])
    await mail.answer((await mail.receipts(1))[0], "confirmed")
    await team.desk.expect("conversation.closed", lambda frame: frame["conversation_id"] == over["id"])
    await phone.write(question)
    matter = await steps.take(team, question)
    one = {"into": matter["contact_id"]}
    await team.server.api("POST", f"/contacts/{over['contact_id']}/merge", one)
    return str(matter["id"])


async def _complain(team: Team, chief: Desk, side: Side) -> str:
    """On record by whoever has it: named, then anonymous; analysed by five whys, with something to be done about it."""
    question = f"The wardrobe fell apart {side.person}"
    await side.write(question)
    matter = str((await steps.take(team, question))["id"])
    given = {"category": "routine", "complaint_type": "product", "severity": "minor", "reason": "they complain"}
    await team.server.api("POST", f"/conversations/{matter}/classify", given, token=team.agent["token"])
    here, who = f"/complaints/{matter}", team.agent["token"]
    named = await team.server.api("GET", here, token=who)
    assert (named["progress"], named["complainant"] is None) == ("registered", False)
    what: dict[str, Any] = {
        "what": "A leg broke.",
        "product": _product(side),
        "demands": "A new leg.",
        "anonymous": True,
    }
    assert (await team.server.change(here, **what, occurred_at="2026-11-20T08:00:00Z"))["complainant"] is None
    chain: list[dict[str, Any]] = []
    for why in reversed(WHYS):
        chain = [{"text": why, "root": not chain, "because": chain}]
    explained = await team.server.api("PUT", f"{here}/causes", {"causes": chain}, token=who)
    assert explained["causes"] == chain
    todo = {"text": "Longer screws.", "owner_id": chief.welcome["agent"]["id"], "due_on": _in(86_400 * 7)[:10]}
    action = (await team.server.api("POST", f"{here}/actions", todo, token=who))["id"]
    await chief.expect("corrective_action.planned", lambda frame: frame["action"]["id"] == action)
    await _step(team, matter, "analysed")
    await team.server.change(f"/corrective-actions/{action}", version=1, status="done", effect="None broke since.")
    return matter


async def _step(team: Team, matter: str, progress: str) -> None:
    """How far it got is seen at the desks at once."""
    await team.server.api("POST", f"/complaints/{matter}/steps", {"progress": progress}, token=team.agent["token"])
    await team.desk.expect("complaint.updated", lambda frame: frame["complaint"]["progress"] == progress)


async def _call_back(team: Team, chief: Desk, side: Side, matter: str) -> None:
    """A contact that was promised and made, on their channel; and one that nobody made, which the supervisor hears of."""
    made = await _promise(team, matter)
    await policy(team, follow_up_grace_s=0.3, recovery_due_s=0.3)
    missed = await _promise(team, matter)
    await team.desk.expect("follow_up.due", lambda frame: frame["follow_up"]["id"] == made)
    words = f"The new leg comes on Monday {side.person}"
    await steps.reply(team, matter, words)
    await side.read(words)
    done = await team.server.change(f"/follow-ups/{made}", version=1, outcome="reached", result="Monday is fine.")
    assert (done["state"], done["missed"], done["conversation_status"]) == ("done", False, "open")
    for desk in (team.desk, chief):
        await desk.expect("follow_up.missed", lambda frame: frame["follow_up"]["id"] == missed)
        assert [frame["follow_up"]["id"] for frame in desk.events if frame["type"] == "follow_up.missed"] == [missed]
    [listed] = (await team.server.api("GET", f"/follow-ups?missed=true&assignee_id={team.agent['id']}"))["items"]
    assert listed["id"] == missed


async def _promise(team: Team, matter: str) -> str:
    body = {"due_at": _in(2), "kind": "message", "note": "when does the leg come?"}
    made = await team.server.api("POST", f"/conversations/{matter}/follow-ups", body, token=team.agent["token"])
    await team.desk.expect("follow_up.planned")
    return str(made["id"])


async def _work_on(team: Team, chief: Desk, side: Side, matter: str) -> None:
    """ "Not solved": the owner goes on and a supervisor makes it good, until the next receipt is confirmed."""
    await steps.resolve(team, matter)
    await side.answer((await side.receipts(1))[0], "rejected")
    reopened = await team.desk.expect("conversation.reopened", lambda frame: frame["conversation_id"] == matter)
    assert (reopened["reason"], reopened["conversation"]["owner_id"]) == ("rejected", team.agent["id"])
    task = await _opened(chief, matter, "rejection")
    await team.server.change(task, state="in_progress", remedy="further_work")
    done = await team.server.change(task, state="done", text="A carpenter mends it.")
    assert done["asked_at"] is None, "the next receipt asks"
    await _step(team, matter, "handled")
    await steps.resolve(team, matter)
    await _step(team, matter, "replied")
    await side.answer((await side.receipts(2))[1], "confirmed")
    await team.desk.expect("conversation.closed", lambda frame: frame["conversation_id"] == matter)
    await _recovered(chief, task)


async def _compensate(team: Team, chief: Desk, side: Side, matter: str) -> None:
    """A low score after closing: nobody makes it good in time, then somebody does, and asks them whether that helped."""
    await side.write("1")
    await team.desk.expect("feedback.received", lambda frame: frame["ratings"].get("csat") == 1)
    task = await _opened(chief, matter, "low_score")
    late = await chief.expect("recovery.overdue", lambda frame: frame["task"]["cause"] == "low_score")
    assert task.endswith(late["task"]["id"])
    money: dict[str, Any] = {"remedy": "compensation", "amount": "25", "currency": "EUR"}
    done = await team.server.change(task, state="done", text=REMEDY, **money)
    assert done["asked_at"] is not None
    asked = await side.read(REMEDY)
    assert "25 EUR" in asked
    async with httpx.AsyncClient() as browser:
        page = await browser.get(team.server.base + urlsplit(steps.link_in(asked)).path)
        assert REMEDY in page.text
    await side.answer((await side.receipts(3))[2] if side.buttons else asked, "confirmed")
    await _recovered(chief, task)
    assert (await team.server.api("GET", f"/conversations/{matter}"))["status"] == "closed"
    assert not [frame for frame in team.desk.events if frame["type"].startswith("recovery.")]


async def _opened(chief: Desk, matter: str, cause: str) -> str:
    """The path of the task, which is the supervisor's."""
    told = await chief.expect("recovery.opened", lambda frame: frame["task"]["cause"] == cause)
    assert (told["conversation_id"], told["task"]["assignee_id"]) == (matter, chief.welcome["agent"]["id"])
    return f"/recovery-tasks/{told['task']['id']}"


async def _recovered(chief: Desk, task: str) -> Frame:
    def good(frame: Frame) -> bool:
        return task.endswith(frame["task"]["id"]) and frame["task"]["state"] == "confirmed"

    told = await chief.expect("recovery.updated", good)
    assert told["task"]["via"] in ("message", "button")
    return told


async def _file(team: Team, side: Side, matter: str) -> None:
    """The result closes it: found by its filters, counted, in the table without a name, and in the figures."""
    await team.server.change(f"/complaints/{matter}", result="Mended, and a voucher.")
    await _step(team, matter, "closed")
    api, kind = team.server.api, side.channel["type"]
    where = f"product={quote(_product(side))}&channel_type={kind}&type=product&severity=minor&progress=closed"
    [row] = (await api("GET", f"/complaints?{where}&agent_id={team.agent['id']}"))["items"]
    assert (row["conversation_id"], row["complainant"], row["result"]) == (matter, None, "Mended, and a voucher.")
    assert (await api("GET", f"/complaints?{where.replace('minor', 'major')}"))["items"] == []
    steps_taken = (await api("GET", f"/complaints/{matter}"))["steps"]
    assert [step["progress"] for step in steps_taken] == ["analysed", "handled", "replied", "closed"]
    values: Mapping[str, Any] = {
        "type": "product",
        "channel": kind,
        "agent": {"id": team.agent["id"], "name": "Ada Agent"},
    }
    for by, value in values.items():
        counted = await api("GET", f"/complaints/statistics?{where}&by={by}")
        assert counted["items"] == [{"value": value, "complaints": 1, "closed": 1}]
    await _table(team, where, matter)
    total = (await api("GET", f"/reports/outcomes?channel_id={side.channel['id']}"))["total"]
    wanted = {"resolved": 2, "complaints": 1, "rejected": 1, "confirmed": 1, "recoveries": 2, "recovered": 2}
    assert {name: total[name] for name in wanted} == wanted


async def _table(team: Team, where: str, matter: str) -> None:
    headers = {"Authorization": f"Bearer {team.server.admin}"}
    async with httpx.AsyncClient(headers=headers) as client:
        table = await client.get(f"{team.server.base}/api/v1/complaints/export?{where}")
    assert table.status_code == 200
    [line] = csv.DictReader(io.StringIO(table.content.decode("utf-8-sig")))
    wanted = {"conversation_id": matter, "complainant": "", "progress": "closed", "result": "Mended, and a voucher."}
    assert {name: line[name] for name in wanted} == wanted


def _product(side: Side) -> str:
    return f"Wardrobe {side.person}"


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
