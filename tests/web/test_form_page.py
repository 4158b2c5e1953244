"""The form of ours in a real browser, without a mouse and without JavaScript; and what a visitor sees when it is wrong."""

from __future__ import annotations

import re
import secrets
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from app.web import form_texts
from tests.support.server import Server
from tests.web.browser import chromium, sign_in, tab_to
from tests.web.html import one

WORDS = {
    "en": ("Email address", "Please fill this in.", "Thank you!", "Where your matter stands"),
    "zh": ("电子邮箱", "请填写此项。", "谢谢您！", "处理进度"),
}
FIELDS: list[Any] = [
    "name",
    {"name": "email", "required": True},
    {"name": "topic", "kind": "select", "label": {"en": "Topic", "zh": "主题"}, "options": ["Order", "Repair"]},
    "message",
    {"name": "colour"},
    "files",
    "consent",
]


def test_both_languages_have_the_same_keys_and_places() -> None:
    assert form_texts.ENGLISH.keys() == form_texts.CHINESE.keys()
    for key, english in form_texts.ENGLISH.items():
        assert re.findall(r"\{\w+\}", english) == re.findall(r"\{\w+\}", form_texts.CHINESE[key]), key


async def make(server: Server, **config: Any) -> dict[str, Any]:
    return await server.make_channel("form", {"fields": FIELDS, "min_fill_s": 0, **config})


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_filled_in_by_keyboard_corrected_and_followed(server: Server, language: str) -> None:
    form = await make(server, allowed_origins=["https://shop.example"])
    label, missing, thanks, progress = WORDS[language]
    text = f"It wobbles {secrets.token_hex(4)}"
    async with chromium() as browser:
        locale = {"en": "en-GB", "zh": "zh-CN"}[language]
        page = await (await browser.new_context(java_script_enabled=False, locale=locale)).new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.set_default_timeout(30_000)
        await page.goto(f"{server.base}/forms/{form['id']}")
        assert await page.get_attribute("html", "lang") == {"en": "en", "zh": "zh-Hans"}[language]
        await expect(page.locator("#reference_check")).not_to_be_in_viewport()
        await tab_to(page, "field-1")
        await page.keyboard.type("Grace")
        await tab_to(page, "field-4")
        await page.keyboard.type(text)
        await tab_to(page, "field-7")
        await page.keyboard.press("Space")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")

        wrong = page.get_by_label(label)
        await expect(wrong).to_have_attribute("aria-invalid", "true")
        described = await wrong.get_attribute("aria-describedby")
        await expect(page.locator(f"#{described}")).to_have_text(missing)
        await expect(page.get_by_role("alert")).to_contain_text(missing)
        assert await page.locator("#field-1").input_value() == "Grace", "what was written is kept"
        assert await page.locator("#field-4").input_value() == text
        assert await page.locator("#field-7").is_checked()
        await tab_to(page, "field-2")
        await page.keyboard.type(f"{secrets.token_hex(4)}@customer.example")
        await page.locator("#field-6").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"\x89PNG"})
        await page.locator("button").focus()
        await page.keyboard.press("Enter")

        await page.get_by_role("heading", name=thanks).wait_for()
        await page.locator("a.button").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name=progress).wait_for()
        await expect(page.get_by_text(text)).to_be_visible()
        await expect(page.get_by_text("a.png")).to_be_visible()
        assert [problem for problem in problems if "favicon" not in problem and "422" not in problem] == []


async def test_nothing_overflows_on_a_small_screen(server: Server) -> None:
    form = await make(server, title="w" * 100, fields=["message", {"name": "x", "label": "y" * 200}])
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 320, "height": 600})
        for path in (f"/forms/{form['id']}", f"/forms/{form['id']}?lang=zh"):
            await page.goto(server.base + path)
            await page.get_by_role("button").click()
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


async def test_the_page_is_what_its_fields_are(server: Server) -> None:
    form = await make(
        server, fields=["message", {"name": "order", "kind": "hidden"}], redirect_url="https://shop.example/thanks"
    )
    async with httpx.AsyncClient(headers={"accept": "text/html"}) as browser:
        page = await browser.get(f"{server.base}/forms/{form['id']}?order=7%22%3E%3Cscript%3E&lang=en")
        assert page.status_code == 200
        assert one(page.text, "input[name=order]").attributes["value"] == '7"><script>'
        assert one(page.text, "label[for=field-1]").text(strip=True) == "Your message"
        assert "form-action 'self' https://shop.example" in page.headers["content-security-policy"]
        assert (await browser.get(f"{server.base}/forms/{secrets.token_hex(16)}")).status_code in (404, 422)
        sent = await browser.post(form["webhook_url"], data={"message": "to your own page"})
        assert (sent.status_code, sent.headers["location"]) == (303, "https://shop.example/thanks")
        other = await browser.post(
            form["webhook_url"], data={"message": "x", "redirect_url": "https://evil.example", "next": "//evil.example"}
        )
        assert other.headers["location"] == "https://shop.example/thanks"
        forged = await browser.get(f"{server.base}/forms/{form['id']}/thanks?t=forged")
        assert forged.status_code == 404


async def test_an_agent_enters_a_matter_at_the_console(server: Server) -> None:
    agent = await server.make_agent(f"Ada {secrets.token_hex(3)}")
    text = f"Stands at the counter {secrets.token_hex(4)}"
    async with chromium() as browser:
        desk = await browser.new_page()
        desk.set_default_timeout(30_000)
        complaints: list[str] = []
        desk.on("pageerror", lambda error: complaints.append(str(error)))
        await sign_in(desk, server.base, agent["token"])
        await desk.get_by_text("Enter a matter").click()
        await desk.get_by_label("Customer", exact=True).fill("Anna")
        await desk.get_by_label("Came by").select_option(label="telephone")
        await desk.get_by_label("What it is about").fill(text)
        await desk.get_by_role("button", name="Enter", exact=True).click()
        await expect(desk.get_by_role("log")).to_contain_text(text)
        await expect(desk.locator("#entered")).to_contain_text("only notes")
        link = await desk.get_by_role("link", name="Page for the customer").get_attribute("href")
        assert link is not None
        await desk.goto(link)
        await expect(desk.get_by_text(text)).to_be_visible()
        assert complaints == []
