"""Receipts by a text that the provider has approved: which one, what fills it in, and what operators may name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.channels.base import TemplateButton
from app.delivery import templates
from app.errors import Invalid
from app.feedback import receipt_approved
from app.feedback.receipt_approved import ProviderTemplate
from app.models import ReceiptTemplate
from tests.desk.conftest import admin, house, supervisor
from tests.desk.house import Caller

__all__ = ["admin", "house", "supervisor"]

LINK = "https://desk.test/f/t0ken"
CYCLE = UUID("01935555-0000-7000-8000-00000000000c")
Json = dict[str, Any]


def named(name: str, **more: Any) -> Json:
    return {"name": name, "language": "pt_BR", "variables": ["name", "link"], **more}


def row(language: str, name: str | None, **more: Any) -> ReceiptTemplate:
    given = {"channel_type": "whatsapp", **more}
    return ReceiptTemplate(language=language, text="{link}", provider_template=named(name) if name else None, **given)


def test_the_nearest_first() -> None:
    kept = [
        row("pt", "pt"),
        row("pt-br", "brazil"),
        row("pt", "again", kind="reminder"),
        row("zh", None),
        row("zh", "elsewhere", channel_type="sms"),
    ]

    def found(language: str, *, reminder: bool = False) -> list[str]:
        fitting = receipt_approved.fitting(kept, language=language, channel_type="whatsapp", reminder=reminder)
        return [each.name for each in fitting]

    assert found("pt-BR") == ["brazil", "pt"]
    assert found("pt") == ["pt"]
    assert found("pt_BR", reminder=True) == ["again", "brazil", "pt"], "asked again in the words of the receipt"
    assert found("zh") == found("en") == []


def test_variables_are_lines_and_never_empty() -> None:
    given = ProviderTemplate.model_validate(named("n", variables=["name", "problem", "link"], empty="customer"))
    values = {"name": " ", "problem": " It\nhangs,\t\tand      creaks.\r\n", "link": LINK}
    body = "Hello {{1}}: {{2}} {{3}}"
    asked = receipt_approved.values_of(given, values)
    assert templates.fitted(body, asked, whole={2}) == ["customer", "It hangs, and creaks.", LINK]


@pytest.mark.parametrize("character", ["x", "坏", "\U0001f6aa"])
def test_the_longest_are_cut_until_all_of_it_fits(character: str) -> None:
    long, short = character * 3_000, "It is in order."
    fitted = templates.fitted("{{1}} | {{2}} | {{3}} | {{4}}", [long, short, LINK, long], whole={2})
    assert fitted[1:3] == [short, LINK]
    assert fitted[0] == fitted[3] == character * (len(fitted[0]) - 1) + "…"
    text = templates.rendered("{{1}} | {{2}} | {{3}} | {{4}}", fitted)
    assert 1_020 < len(text.encode("utf-16-le")) / 2 <= 1_024
    with pytest.raises(Invalid):
        templates.fitted("x" * 1_000 + "{{1}} {{2}}", [long, LINK], whole={1})


def test_buttons_answer_this_receipt_and_lead_to_its_page() -> None:
    given = ProviderTemplate.model_validate(named("n", buttons=["confirmed", "rejected", "link"]))
    assert receipt_approved.buttons_of(given, CYCLE, LINK) == [
        TemplateButton("quick_reply", f"rt:y:{CYCLE.hex}"),
        TemplateButton("quick_reply", f"rt:n:{CYCLE.hex}"),
        TemplateButton("url", "t0ken"),
    ]


async def test_what_cannot_go_out_is_refused_by_name(admin: Caller, supervisor: Caller) -> None:
    own = {"language": "pt_BR", "channel_type": "whatsapp", "text": "Olá {name}: {link}"}
    by = named("obra_pronta")

    async def refused(fields: Json, field: str) -> None:
        problem = await admin.post("/receipt-templates", {**own, "provider_template": by, **fields}, expect=422)
        assert problem["field"] == field, problem

    await refused({}, "channel_type")  # there is no such channel yet
    config = {"app_secret": "s", "verify_token": "v", "access_token": "t", "phone_number_id": "111"}
    channel = await admin.post("/channels", {"type": "whatsapp", "name": "WhatsApp", "config": config})
    twilio = {"account_sid": "AC" + "0" * 32, "auth_token": "t", "number": "whatsapp:+4930123456"}
    texting = await admin.post("/channels", {"type": "sms", "name": "Twilio", "config": twilio})
    await refused({}, "provider_template.name")
    kept = {"name": "obra_pronta", "language": "pt_BR", "body": "Olá {{1}}, veja {{2}}", "status": "pending"}
    for each in (channel, texting):
        await admin.post(f"/channels/{each['id']}/templates", kept)
    for changed, field in (
        ({"name": "other"}, "name"),
        ({"name": "with space"}, "name"),
        ({"language": "pt"}, "name"),
        ({"language": "?"}, "language"),
        ({"variables": ["name"]}, "variables"),
        ({"variables": ["link"]}, "variables"),
        ({"variables": ["name", "who"]}, "variables.1"),
        ({"buttons": ["link", "link"]}, "buttons"),
        ({"buttons": ["maybe"]}, "buttons.0"),
        ({"empty": " "}, "empty"),
        ({"empty": "two  spaces"}, "empty"),
        ({"colour": "red"}, "colour"),
    ):
        await refused({"provider_template": {**by, **changed}}, f"provider_template.{field}")
    await refused({"channel_type": None}, "channel_type")
    await refused({"channel_type": "email"}, "channel_type")
    await refused(
        {"channel_type": "sms", "provider_template": {**by, "buttons": ["link"]}}, "provider_template.buttons"
    )
    made = await admin.post("/receipt-templates", {**own, "provider_template": {**by, "buttons": ["link"]}})
    assert made["provider_template"] == {**by, "buttons": ["link"], "empty": "–"}
    asked = {"language": "pt-BR", "channel_type": "whatsapp"}
    shown = await supervisor.post("/receipt-templates/preview", asked, expect=200)
    link = "https://example.org/f/sample"
    assert shown["provider_template"] == {
        "name": "obra_pronta",
        "language": "pt_BR",
        "status": "pending",
        "parameters": ["Ada", link],
        "buttons": ["sample"],
        "text": f"Olá Ada, veja {link}",
    }
    tried = {**asked, "provider_template": named("obra_pronta", variables=["link", "problem"])}
    shown = await supervisor.post("/receipt-templates/preview", tried, expect=200)
    assert (shown["template_id"], shown["provider_template"]["parameters"][1]) == (
        made["id"],
        "The door came scratched.",
    )
    problem = await supervisor.post(
        "/receipt-templates/preview", {**tried, "channel_type": "sms", "language": "x"}, expect=422
    )
    assert problem["field"] == "language"
    await admin.post("/receipt-templates", {**own, "channel_type": "sms", "provider_template": by})

    path = f"/receipt-templates/{made['id']}"
    wrong = {"provider_template": {**by, "variables": ["link", "link", "link"]}}
    problem = await admin.patch(path, made["version"], wrong, expect=422)
    assert problem["field"] == "provider_template.variables"
    changed = await admin.patch(path, made["version"], {"text": "{link}"})
    assert changed["provider_template"] == made["provider_template"]
    changed = await admin.patch(path, changed["version"], {"provider_template": None})
    assert changed["provider_template"] is None
    shown = await supervisor.post("/receipt-templates/preview", asked, expect=200)
    assert shown["provider_template"] is None
