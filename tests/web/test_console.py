"""The agents' console in a real browser on a live server: pick-up, transfer, supervision, mentions, small screens."""

from __future__ import annotations

from playwright.async_api import expect

from tests.support.server import Server
from tests.web.browser import chromium, focused, sign_in, tab_to
from tests.web.office import FITS, NAMELESS, log, office, write


async def test_a_waiting_conversation_is_picked_up_by_keyboard(server: Server) -> None:
    async with office(server) as place:
        desk = await place.console("Ada")
        await expect(desk.locator("#load")).to_have_text("load 0 of 6")
        await expect(desk.locator("#queues")).to_contain_text("0 waiting")
        await expect(desk.locator("#entries")).to_contain_text("Nobody waits")
        await place.customer_writes("My chair wobbles", subject="A chair")
        await expect(desk.locator("#queues")).to_contain_text("1 waiting")
        await expect(desk.locator("#entries")).to_contain_text("waits")
        await desk.get_by_role("button", name="Pick up: A chair").focus()
        await desk.keyboard.press("Enter")
        await expect(log(desk)).to_contain_text("My chair wobbles")
        assert await focused(desk) == "text"
        await expect(desk.locator("#facts")).to_contain_text("Mei Customer")
        await expect(desk.locator("#load")).to_have_text("load 1 of 6")
        await expect(desk.locator("#queues")).to_contain_text("0 waiting")
        await expect(desk.locator("#entries")).to_contain_text("Nobody waits")


async def test_an_offer_says_what_it_is_and_a_transfer_asks_the_other(server: Server) -> None:
    async with office(server) as place:
        ada = await place.console("Ada", online=True)
        ben = await place.console("Ben", online=True, outside=True)
        await place.customer_writes("The lamp flickers", category="complex")
        card = ada.locator(".offer")
        for words in ("Mei Customer", "The lamp flickers", "complex", "s left"):
            await expect(card).to_contain_text(words)
        await ada.get_by_role("button", name="Accept: Mei Customer").click()
        await expect(log(ada)).to_contain_text("The lamp flickers")
        await ada.get_by_text("Transfer", exact=True).first.click()
        await ada.get_by_label("To", exact=True).select_option(label=f"Ben {place.tag}")
        await ada.get_by_label("Note for them").fill("You know lamps")
        await ada.get_by_role("button", name="Transfer", exact=True).click()
        await expect(ben.locator(".offer")).to_contain_text("Note: You know lamps")
        await ben.get_by_role("button", name="Accept: Mei Customer").click()
        await expect(log(ben)).to_contain_text("The lamp flickers")
        await expect(ada.get_by_text(f"Ben {place.tag} has it now")).to_be_visible()
        await expect(ada.locator("#open")).to_be_hidden()
        await expect(ada.locator("#load")).to_have_text("load 0 of 6")
        for part in ("problem", "resolution", "commitment"):
            await ben.locator(f"#{part}").fill("As agreed")
        await ben.get_by_role("button", name="Send the receipt").click()
        await expect(ben.get_by_text("has the last word")).to_be_visible()
        for part in ("resolving", "classifying", "transferring"):
            await expect(ben.locator(f"#{part}")).to_be_hidden()


async def test_a_supervisor_listens_whispers_joins_and_takes_over(server: Server) -> None:
    async with office(server) as place:
        ada = await place.console("Ada", online=True)
        sue = await place.console("Sue", role="supervisor")
        await place.customer_writes("My sofa is torn", subject="A sofa")
        await ada.get_by_role("button", name="Accept").click()
        await sue.locator("#queues").get_by_role("button", name=place.queue["name"]).click()
        await sue.locator("#busy").get_by_role("button", name="A sofa").click()
        await expect(log(sue)).to_contain_text("My sofa is torn")
        await sue.get_by_role("button", name="Listen").click()
        await expect(ada.get_by_role("list", name="Who takes part")).to_contain_text(f"Sue {place.tag} listens")
        await expect(sue.get_by_role("radio", name="Reply")).to_be_hidden()
        await write(sue, "Offer her a new cover", "Whisper")
        await expect(log(ada).locator(".whisper")).to_contain_text("Offer her a new cover")
        await sue.get_by_role("button", name="Join").click()
        await expect(ada.get_by_role("list", name="Who takes part")).to_contain_text(f"Sue {place.tag} joined")
        await expect(sue.get_by_role("radio", name="Reply")).to_be_visible()
        await sue.get_by_role("button", name="Leave").click()
        await expect(sue.locator("#open")).to_be_hidden()
        await expect(ada.get_by_role("list", name="Who takes part")).not_to_contain_text("Sue")
        await sue.locator("#busy").get_by_role("button", name="A sofa").click()
        await sue.get_by_role("button", name="Take it over").click()
        await expect(sue.locator("#mine")).to_contain_text("A sofa")
        await expect(ada.get_by_text(f"Sue {place.tag} has it now")).to_be_visible()
        await expect(ada.locator("#open")).to_be_hidden()
        await sue.get_by_text("Assign", exact=True).first.click()
        await sue.get_by_label("Give it to").select_option(label=f"Ada {place.tag}")
        await sue.get_by_role("button", name="Assign", exact=True).click()
        await expect(ada.locator("#mine")).to_contain_text("A sofa")


async def test_a_colleague_is_named_in_a_note_helps_and_is_thanked(server: Server) -> None:
    async with office(server) as place:
        ada = await place.console("Ada", online=True)
        ben = await place.console("Ben", outside=True)
        await place.customer_writes("My shelf fell", subject="A shelf")
        await ada.get_by_role("button", name="Accept").click()
        await ada.get_by_role("radio", name="Note").check()
        await expect(ada.locator("#helper option", has_text=f"Ben {place.tag}")).to_have_count(1)
        await ada.get_by_label("Your text").press_sequentially(f"Please look, @{place.tag[:5]}")
        await expect(ada.get_by_role("listbox", name="Colleagues").get_by_role("option")).to_have_attribute(
            "aria-selected", "true"
        )
        await ada.keyboard.press("Enter")
        await ada.keyboard.type("which screws?")
        await expect(ada.get_by_label("Your text")).to_have_value(f"Please look, @Ben {place.tag} which screws?")
        await ada.keyboard.press("Control+Enter")
        await expect(ada.get_by_role("list", name="Who takes part")).to_contain_text(f"Ben {place.tag} helps")
        await ben.locator("#notices").get_by_role("button", name=f"Ada {place.tag} mentions you").click()
        await expect(log(ben).locator(".called")).to_contain_text("which screws?")
        await expect(ben.locator("#mentions")).to_be_hidden()
        await expect(ben.locator("#helping")).to_contain_text("A shelf")
        await expect(ben.get_by_role("radio", name="Reply")).to_be_hidden()
        await write(ben, "Eight by sixty")
        await expect(log(ada)).to_contain_text("Eight by sixty")
        await ada.get_by_role("button", name=f"Remove Ben {place.tag}").click()
        await expect(ben.locator("#open")).to_be_hidden()
        await expect(ben.locator("#helps")).to_be_hidden()
        await ada.get_by_text("Ask for help", exact=True).click()
        await ada.get_by_label("Who", exact=True).select_option(label=f"Ben {place.tag} (offline)")
        await ada.get_by_label("What about").fill("And which dowels?")
        await ada.get_by_role("button", name="Add", exact=True).click()
        await expect(ben.locator("#notices")).to_contain_text("And which dowels?")


async def test_it_fits_small_screens_and_every_control_has_a_name(server: Server) -> None:
    async with office(server) as place:
        desk = await place.console("Ada", role="supervisor", online=True)
        await place.customer_writes("w" * 300, subject="x" * 200, name="n" * 100)
        await expect(desk.locator(".offer")).to_be_visible()
        for width in (1000, 400):
            await desk.set_viewport_size({"width": width, "height": 800})
            assert await desk.evaluate(FITS), f"the lists, {width}"
        await desk.get_by_role("button", name="Accept").click()
        await expect(log(desk)).to_contain_text("www")
        await place.customer_writes("Another one")
        for width in (400, 1000, 1280):
            await desk.set_viewport_size({"width": width, "height": 800})
            assert await desk.evaluate(FITS), f"a conversation, {width}"
            for name in ("Accept", "Send"):
                await expect(desk.get_by_role("button", name=name, exact=name == "Send")).to_be_visible()
            above = "document.elementFromPoint(...(b => [b.x + 9, b.y + 9])(e.getBoundingClientRect()))"
            send = desk.get_by_role("button", name="Send", exact=True)
            await send.scroll_into_view_if_needed()
            assert await send.evaluate(f"e => {above} === e"), f"something covers the button, {width}"
            assert await desk.evaluate(NAMELESS) == 0
        await tab_to(desk, "text")
        await desk.set_viewport_size({"width": 400, "height": 800})
        await desk.get_by_role("button", name="Back to the lists").click()
        await expect(desk.locator("#mine")).to_be_visible()


async def test_a_wrong_token_is_told_once(server: Server) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(server.base + "/console")
        await page.get_by_label("Your agent token").fill("rt_agent_wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text("This token is not valid.")
        assert await page.evaluate("sessionStorage.length") == 0
        await expect(page.locator("#said")).to_have_text("")
        await sign_in(page, server.base, (await server.make_agent("Ada Agent"))["token"])
        await expect(page.locator("#said")).to_have_text("")
