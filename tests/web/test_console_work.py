"""The agents' console in a real browser: parked conversations, return contacts, recovery, complaints, by keyboard."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
from playwright.async_api import Page, expect

from app.clock import now
from tests.support.server import Server
from tests.web.axe import violations
from tests.web.browser import focused
from tests.web.office import FITS, NAMELESS, Office, log, office

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
RECONNECTED = """new Promise((done) => {
    const { welcome } = on;
    on.welcome = (frame) => { on.welcome = welcome; welcome(frame); done(); };
    socket.close();
})"""
PAST, FUTURE = "2020-01-01T10:00", "2099-01-01T10:00"
PARTS = {"problem": "A chair wobbles", "resolution": "A new leg", "commitment": "It lasts"}
REASON = {
    "category": "urgent",
    "matter": "complaint",
    "complaint_type": "product",
    "severity": "minor",
    "reason": "hot",
}


async def press(page: Page, name: str) -> None:
    """By keyboard, as somebody without a mouse would."""
    button = page.get_by_role("button", name=name, exact=True)
    await expect(button).to_be_visible()
    await button.focus()
    await page.keyboard.press("Enter")


async def unfold(page: Page, summary: str) -> None:
    await page.locator("aside summary", has_text=summary).focus()
    await page.keyboard.press("Enter")


async def only(place: Office) -> dict[str, Any]:
    [found] = (await place.server.api("GET", f"/conversations?queue_id={place.queue['id']}"))["items"]
    return dict(found)


async def rated(place: Office, conversation_id: str, comment: str) -> None:
    """Resolved, and the customer says that they are not content."""
    done = await place.server.api("POST", f"/conversations/{conversation_id}/resolve", PARTS)
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            done["receipt"]["url"], data={"outcome": "confirmed", "csat": "1", "comment": comment}
        )
    assert answer.status_code == 200, answer.text


async def test_a_matter_is_parked_followed_up_and_goes_on_by_keyboard(server: Server) -> None:
    async with office(server, refusals=2) as place:
        desk = await place.console("Ada")
        facts = desk.locator("#facts")
        await place.customer_writes("My chair wobbles", subject=HOSTILE)
        await desk.get_by_role("button", name="Pick up: <img").press("Enter")
        await expect(desk.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        await press(desk, "Hold")
        await expect(facts).to_contain_text("on hold")
        assert await focused(desk) in ("wait", "snooze"), "the focus stays among the buttons"
        await press(desk, "Snooze")
        await desk.get_by_label("Until").and_(desk.locator("#snooze_until")).fill(PAST)
        await desk.keyboard.press("Enter")
        await expect(desk.locator("#snooze_error")).to_have_text("this time has passed")
        await expect(desk.locator("#snooze_until")).to_be_focused()
        assert await desk.locator("#snooze_until").get_attribute("aria-describedby") == "snooze_error"
        await press(desk, "in an hour")
        await desk.keyboard.press("Enter")
        await expect(facts).to_contain_text("snoozed · until")
        await expect(desk.locator("#snooze")).to_be_focused()
        await press(desk, "Resume")
        await expect(facts).to_contain_text("open")

        await unfold(desk, "Follow-ups")
        for when, kind in ((PAST, "call"), (FUTURE, "visit")):
            await desk.get_by_label("When the customer is contacted again").fill(when)
            await desk.get_by_label("How", exact=True).select_option(kind)
            await desk.get_by_label("What to ask or tell").fill(HOSTILE)
            await press(desk, "Plan it")
            if when == PAST:
                await expect(desk.locator("#plan_error")).to_have_text("must be in the future")
        await expect(desk.locator("#plan_due")).to_have_value("")
        await desk.locator("#plan_note").fill("Not sent yet")
        await desk.evaluate(RECONNECTED)
        await expect(desk.locator("#plan_note")).to_be_focused()
        await expect(desk.locator("#plan_note")).to_have_value("Not sent yet")
        planned = desk.locator("#follow_list li")
        await expect(planned).to_contain_text(HOSTILE)
        await expect(planned).to_contain_text("visit 1 Jan 2099")
        await planned.get_by_role("button", name="Outcome").press("Enter")
        await desk.get_by_label("Outcome", exact=True).select_option("rescheduled")
        await desk.locator("#follow_next_due").fill("2098-01-01T10:00")
        await desk.get_by_label("What was said").fill("Not before spring")
        await press(desk, "Keep the outcome")
        await expect(planned).to_contain_text("2098")
        await expect(desk.locator("#follow_here")).to_contain_text("rescheduled")
        await expect(desk.locator("#follow_here")).to_contain_text("Not before spring")

        conversation = await only(place)
        soon = {"due_at": (now() + timedelta(seconds=3)).isoformat(), "kind": "call", "note": "Ring her"}
        await server.api("POST", f"/conversations/{conversation['id']}/follow-ups", soon)
        await expect(desk.locator("#said")).to_contain_text("A follow-up is due: Ring her")
        await expect(desk.locator("#follow_list")).to_contain_text("due now")

        await server.api("POST", f"/conversations/{conversation['id']}/resolve", PARTS)
        await press(desk, "Reopen")
        await desk.get_by_label("Why it goes on").fill("It wobbles again")
        await desk.keyboard.press("Enter")
        await expect(facts).to_contain_text("cycle 2")
        await expect(log(desk)).to_contain_text("opened again: It wobbles again")
        assert await desk.title() != "hit"


async def test_a_supervisor_makes_good_what_a_customer_rated_low(server: Server) -> None:
    async with office(server, refusals=1) as place:
        sue = await place.console("Sue", role="supervisor")
        ada = await place.console("Ada", online=True)
        await expect(ada.locator("#recoveries")).to_be_hidden()
        await place.customer_writes("My chair wobbles", subject="A chair")
        await ada.get_by_role("button", name="Accept").click()
        await expect(log(ada)).to_contain_text("My chair wobbles")
        conversation = await only(place)
        await rated(place, conversation["id"], HOSTILE)
        row = sue.locator("#recovery_list li", has_text="A chair")
        for words in ("low score", "open", "by "):
            await expect(row).to_contain_text(words)
        await row.get_by_role("button", name="Take").press("Enter")
        await expect(row).to_contain_text("in progress · by ")
        await expect(row).to_contain_text(f"Sue {place.tag} has it")
        await row.get_by_role("button", name="A chair").press("Enter")
        await expect(sue.locator("#task_said")).to_contain_text(f"csat 1 · {HOSTILE}")
        told = sue.get_by_label("What the customer is told of it")
        await told.fill("We are sorry")
        [task] = (await server.api("GET", f"/recovery-tasks?conversation_id={conversation['id']}"))["items"]
        await server.change(f"/recovery-tasks/{task['id']}", due_at="2099-01-01T10:00:00Z")
        await expect(sue.get_by_label("Deadline").and_(sue.locator("#task_due"))).to_have_value("2099-01-01T10:00")
        await expect(told).to_have_value("We are sorry")
        await sue.get_by_label("State").and_(sue.locator("#task_state")).select_option("done")
        await press(sue, "Keep")
        await expect(sue.locator("#task_error")).to_have_text("say what was done for the customer")
        await expect(sue.locator("#task_remedy")).to_be_focused()
        await sue.keyboard.type("apo")
        await press(sue, "Keep")
        await expect(sue.locator("#said")).to_contain_text("the customer is asked whether it helped")
        await expect(row).to_contain_text("done")
        await expect(row.get_by_role("button", name="A chair")).to_be_focused()
        await sue.keyboard.press("Enter")
        await press(sue, "Open the conversation")
        await expect(log(sue)).to_contain_text("We are sorry")
        await unfold(sue, "Make good")
        await expect(sue.locator("#recovery_here")).to_contain_text("done")
        assert await sue.title() != "hit"


async def explain(desk: Page) -> None:
    """Five whys by keyboard: one left empty in between is refused at its place, the empty ones at the end are left out."""
    await press(desk, "Five whys")
    await expect(desk.get_by_label("Cause 1", exact=True)).to_be_focused()
    await desk.keyboard.type("The lamp burnt")
    await desk.get_by_label("Why: cause 1.1.1", exact=True).fill(HOSTILE)
    await press(desk, "Keep the causes")
    await expect(desk.locator("#cause_error")).to_have_text("say what the cause is")
    await expect(desk.get_by_label("Why: cause 1.1", exact=True)).to_be_focused()
    await desk.keyboard.type("A wire was loose")
    await desk.get_by_label("Cause 1.1.1 is a root cause").check()
    await press(desk, "Why? Below cause 1.1")
    await expect(desk.get_by_label("Why: cause 1.1.2", exact=True)).to_be_focused()
    await desk.keyboard.type("Nobody looked")
    await desk.keyboard.press("Enter")
    await expect(desk.locator("#causes .cause")).to_have_count(4)
    await expect(desk.get_by_label("Why: cause 1.1.2", exact=True)).to_be_focused()
    assert await violations(desk) == []
    await expect(desk.get_by_label("Why: cause 1.1.1", exact=True)).to_have_value(HOSTILE)


async def test_a_complaint_is_recorded_explained_and_put_right(server: Server) -> None:
    async with office(server, refusals=1) as place:
        ada, ben = await place.console("Ada", online=True), await place.console("Ben", outside=True)
        await place.customer_writes("My lamp burnt", subject=HOSTILE)
        await ada.get_by_role("button", name="Accept").press("Enter")
        await expect(log(ada)).to_contain_text("My lamp burnt")
        [conversation] = (await server.api("GET", f"/conversations?queue_id={place.queue['id']}"))["items"]
        await expect(ada.locator("#complaining")).to_be_hidden()
        await server.api("POST", f"/conversations/{conversation['id']}/classify", REASON)
        await unfold(ada, "Complaint")
        await press(ada, "Open the record")
        await ada.get_by_label("What happened").fill(HOSTILE)
        await server.change(f"/complaints/{conversation['id']}", product="Lamp 7")
        await expect(ada.locator("#complaint_product")).to_have_value("Lamp 7")
        await expect(ada.get_by_label("What happened")).to_have_value(HOSTILE)
        await ada.get_by_label("Anonymous").check()
        await press(ada, "Keep the record")
        await expect(ada.locator("#complaint_now")).to_contain_text("anonymous")
        await ada.locator("#complaint_severity").select_option("major")
        await ada.locator("#complaint_reason").fill("It could have hurt somebody")
        await ada.keyboard.press("Enter")
        await expect(ada.locator("#complaint_facts")).to_contain_text("product · major · registered · anonymous")
        await ada.get_by_label("Note of this step").fill("A loose wire")
        await ada.keyboard.press("Enter")
        await expect(ada.locator("#steps")).to_contain_text("A loose wire")
        await explain(ada)
        await ada.get_by_label("What is done so that it does not happen again").fill(HOSTILE)
        await ada.get_by_label("Who does it").select_option(label=f"Ben {place.tag}")
        await ada.locator("#act_due").fill("2099-01-01")
        await press(ada, "Plan the action")
        await expect(ben.locator("#said")).to_contain_text("You are to put something right")
        await expect(ben.locator("#duty_list")).to_contain_text(HOSTILE)
        await ben.get_by_role("button", name="Change: <img").press("Enter")
        await ben.get_by_label("How far it is").select_option("done")
        await ben.get_by_label("Did it help?").fill("None burnt since")
        await press(ben, "Keep")
        await expect(ben.locator("#duties")).to_be_hidden()
        await expect(ben.get_by_role("button", name="Complaints")).to_be_focused()
        await expect(ada.locator("#duties_here")).to_contain_text("done · by 2099-01-01")
        await expect(ada.locator("#duties_here")).to_contain_text("None burnt since")
        await ada.keyboard.press("Escape")
        await expect(ada.get_by_role("button", name="Open the record")).to_be_focused()
        await ada.emulate_media(color_scheme="dark")
        assert await violations(ada) == []
        assert [await page.title() for page in (ada, ben)] == ["Agent console"] * 2


async def test_the_register_is_filtered_counted_and_taken_away(server: Server) -> None:
    async with office(server) as place:
        sue, ada = await place.console("Sue", role="supervisor"), await place.console("Ada")
        await press(sue, "Complaints")
        await expect(sue.get_by_role("heading", name="Complaints", exact=True)).to_be_focused()
        await sue.get_by_label("Words").fill(place.tag)
        await expect(sue.locator("#register_none")).to_be_visible()
        for subject in ("A lamp", "A chair"):
            await place.customer_writes("It is bad", subject=f"{subject} {place.tag} {HOSTILE}", name=subject)
        await expect(ada.locator("#entries li")).to_have_count(2)
        found = (await server.api("GET", f"/conversations?queue_id={place.queue['id']}"))["items"]
        lamp = next(one for one in found if "lamp" in one["subject"])
        for one in found:
            reason = REASON if one is lamp else {**REASON, "complaint_type": "attitude", "severity": "major"}
            await server.api("POST", f"/conversations/{one['id']}/classify", reason)
        rows = sue.locator("#register_rows tr")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text(HOSTILE)
        await expect(sue.locator("#figure_rows")).to_contain_text("attitude")
        await expect(sue.locator("#figure_total")).to_have_text("2 in all")
        await sue.get_by_role("search").get_by_label("Severity").select_option("minor")
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text("product")
        await sue.locator("#figure_by").select_option("severity")
        await expect(sue.locator("#figure_rows")).to_contain_text("minor")
        async with sue.expect_download() as taking:
            await press(sue, "Download CSV")
        table = (await (await taking.value).path()).read_text(encoding="utf-8-sig")
        assert "A lamp" in table
        assert "A chair" not in table
        assert await violations(sue) == []
        for width in (400, 1280):
            await sue.set_viewport_size({"width": width, "height": 800})
            assert await sue.evaluate(FITS), width
        await rows.get_by_role("button").press("Enter")
        await expect(log(sue)).to_contain_text("It is bad")
        await unfold(sue, "Complaint")
        await press(sue, "Open the record")
        await expect(sue.get_by_role("dialog", name="Complaint C-")).to_be_visible()
        assert await sue.evaluate(NAMELESS) == 0
        await press(ada, "Complaints")
        await expect(ada.locator("#register_rows tr")).to_have_count(2)
        await expect(ada.locator("#taking")).to_be_hidden()
        assert await sue.title() == "Agent console"
