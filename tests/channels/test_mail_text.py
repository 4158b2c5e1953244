"""Which words of a mail are new: the public sets of three other parsers, and cases of our own."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.mail_parse import parse_mail
from app.channels.mail_text import unsigned, visible, without_quotes


def trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


def expectation(path: Path) -> str | None:
    """The text that the set's own parser is expected to show; talon's and ert's as a file, crisp's as JSON."""
    beside = path.with_name(f"{path.stem}.expected_reply.txt")
    if beside.exists():
        return beside.read_text()
    beside = path.with_name(f"{path.stem}.expected.json")
    if not beside.exists():
        return None
    expected = json.loads(beside.read_bytes())
    whole = path.read_text() if expected.get("fragments") == 1 else None
    return expected.get("visible_text") or expected.get("first_fragment") or whole


@pytest.mark.parametrize(("kind", "size"), [("ert", 42), ("talon", 7), ("crisp", 34)])
def test_public_reply_sets(fixtures: Path, kind: str, size: int) -> None:
    """Exact matches. ert leaves signatures out, talon and crisp's first fragment keep some: what the set measures counts.

    As they are shown, without signatures: all of ert and crisp, and 5 of talon's 7.
    """
    wrong, shown, compared = [], 0, 0
    for path in sorted((fixtures / "email/reply").glob(f"{kind}_*")):
        expected = expectation(path) if ".expected" not in path.name else None
        if expected is None:
            continue
        if path.suffix == ".eml":
            message = parse_mail(path.read_bytes(), address="help@shop.example")
            text = str(message.content.get("full_text", message.text))
        else:
            text = path.read_bytes().decode()
        compared += 1
        shown += trimmed(expected) == trimmed(visible(text))
        if trimmed(expected) not in (trimmed(visible(text)), trimmed(without_quotes(text))):
            wrong.append(path.name)
    print(f"{kind}: {compared - len(wrong)} of {compared} exact, {shown} as they are shown", wrong)
    assert compared >= size
    assert len(wrong) <= 0.05 * compared, wrong
    assert shown >= (0.7 if kind == "talon" else 0.95) * compared


def test_public_signature_set(fixtures: Path) -> None:
    """Signatures without a mark above them, found by the sender's name or address."""
    right, paths = 0, sorted((fixtures / "email/signature").glob("*.json"))
    for path in paths:
        given = json.loads(path.read_bytes())
        sender = given["sender"].strip()
        name, email = (None, sender) if "@" in sender else (sender, None)
        body, signature = unsigned(given["body"], name=name, email=email)
        right += trimmed(signature) == trimmed(given["signature"])
        assert body.strip() + signature.strip() != "", path.name
    print(f"signatures: {right} of {len(paths)} exact")
    assert right >= 0.8 * len(paths) > 0


def test_pathological_mail_is_quick(fixtures: Path) -> None:
    text = (fixtures / "email/reply/zapier_pathological.txt").read_text()
    started = time.perf_counter()
    assert visible(text).startswith("I think you're onto something.")
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "quote",
    [
        "On Mon, Nov 2, 2026 at 9:00 AM Shop <help@shop.example>\nwrote:\n\n> Your sofa",
        "Le lun. 2 nov. 2026 à 09:00, Shop <help@shop.example> a écrit :\n> Votre canapé",
        "Am 02.11.2026 um 09:00 schrieb Shop <help@shop.example>:\n> Ihr Sofa",
        "在 2026年11月2日，上午9:00，Shop <help@shop.example> 写道：\n\n您的沙发",
        "-----Original Message-----\nFrom: Shop\nSent: Monday\n\nYour sofa",
        "________________________________\nFrom: Shop <help@shop.example>\nSent: Monday\nTo: Ana\nSubject: Sofa\n\nYour sofa",
        "------------------ 原始邮件 ------------------\n发件人: Shop\n发送时间: 2026年11月2日\n收件人: Ana\n主题: 沙发\n\n您的沙发",
        "发件人: Shop <help@shop.example>\n发送时间: 2026年11月2日 9:00\n收件人: Ana\n主题: 沙发\n\n您的沙发",
        "> Your sofa\n> is here",
        "-- \nAna Ng\n+86 1",
        "Sent from my iPhone",
        "发自我的iPhone",
        "Sent from my iPhone\n\nOn 2 Nov 2026, at 09:00, Shop <help@shop.example> wrote:\n\n> Your sofa",
    ],
)
def test_what_is_left_out(quote: str) -> None:
    assert visible(f"Thanks, it is here.\nAna\n\n{quote}\n") == "Thanks, it is here.\nAna"


@pytest.mark.parametrize(
    "text",
    [
        "On Monday I wrote to you, and on Tuesday: nothing.",
        "From: my own notes.\nIt broke twice.",
        "Items:\n-- the leg\n-- the arm\n\nBoth broke.",
        "This mail was sent from my phone by mistake, please ignore the last one.",
        "> only a quote",
        "-- \nonly a signature",
        "",
        "Ich schrieb Ihnen schon am 3. Mai:\nDas Sofa ist kaputt.",
    ],
)
def test_what_stays(text: str) -> None:
    assert visible(text) == text.replace("-- \n", "--\n")


def test_answers_between_the_quotes_stay_with_what_they_answer() -> None:
    text = "On 2 Nov 2026 Shop <h@s.example> wrote:\n> Which colour?\n\nGreen.\n\n> Which day?\n\nFriday."
    assert visible(text) == "> Which colour?\n\nGreen.\n\n> Which day?\n\nFriday."


def test_a_forwarded_mail_stays_whole() -> None:
    text = "---------- Forwarded message ---------\nFrom: A <a@x.example>\nDate: Mon\nSubject: S\nTo: B\n\nIt broke."
    assert visible(text) == text


LINES = [
    "On 2 Nov 2026 a@b.example wrote:",
    "> quoted",
    "plain words",
    "",
    "-- ",
    "From: a",
    "To: b",
    "Subject: c",
    "wrote:",
    "Sent from my x",
    "____",
    ">",
    "On",
    "5:",
]


ATTRIBUTIONS = {
    "en": "On Mon, 2 Nov 2026 at 09:00, Shop <help@shop.example> wrote:",
    "de": "Am Mo., 2. Nov. 2026 um 09:00 Uhr schrieb Shop <help@shop.example>:",
    "fr": "Le lun. 2 nov. 2026 à 09:00, Shop <help@shop.example> a écrit :",
    "es": "El lun, 2 nov 2026 a las 9:00, Shop (<help@shop.example>) escribió:",
    "it": "Il giorno lun 2 nov 2026 alle ore 09:00 Shop <help@shop.example> ha scritto:",
    "pt": "Em seg., 2 de nov. de 2026 às 09:00, Shop <help@shop.example> escreveu:",
    "nl": "Op ma 2 nov 2026 om 09:00 schreef Shop <help@shop.example>:",
    "pl": "W dniu 2.11.2026 o 09:00, Shop <help@shop.example> napisał(a):",
    "sv": "Den mån 2 nov. 2026 kl 09:00 skrev Shop <help@shop.example>:",
    "no": "Den man. 2. nov. 2026 kl. 09:00 skrev Shop <help@shop.example>:",
    "da": "Den man. 2. nov. 2026 kl. 09.00 skrev Shop <help@shop.example>:",
    "fi": "ma 2. marrask. 2026 klo 9.00 Shop <help@shop.example> kirjoitti:",
    "ru": "пн, 2 нояб. 2026 г. в 09:00, Shop <help@shop.example> написал:",
    "tr": "Shop <help@shop.example>, 2 Kas 2026 Pzt, 09:00 tarihinde şunu yazdı:",
    "cs": "po 2. 11. 2026 v 9:00 odesílatel Shop <help@shop.example> napsal:",
    "hu": "Shop <help@shop.example> ezt írta (időpont: 2026. nov. 2., H, 9:00):",
    "ro": "În lun., 2 nov. 2026 la 09:00, Shop <help@shop.example> a scris:",
    "vi": "Vào Th 2, 2 thg 11, 2026 vào lúc 09:00 Shop <help@shop.example> đã viết:",
    "zh": "Shop <help@shop.example> 于2026年11月2日周一 09:00写道：",
    "zh-tw": "Shop <help@shop.example> 於 2026年11月2日 週一 上午9:00寫道：",
    "ja": "2026年11月2日(月) 9:00 Shop <help@shop.example>:",
    "ko": "2026년 11월 2일 (월) 오전 9:00, Shop <help@shop.example>님이 작성:",
}


@pytest.mark.parametrize("language", ATTRIBUTIONS)
def test_attributions_in_many_languages(language: str) -> None:
    assert visible(f"The new words.\n\n{ATTRIBUTIONS[language]}\n\n> the old ones\n> and more\n") == "The new words."


BLOCKS = {
    "en": "From: Shop\nSent: Monday\nTo: Ana\nSubject: Sofa",
    "de": "Von: Shop\nGesendet: Montag\nAn: Ana\nBetreff: Sofa",
    "fr": "De : Shop\nEnvoyé : lundi\nÀ : Ana\nObjet : Sofa",
    "es": "De: Shop\nEnviado el: lunes\nPara: Ana\nAsunto: Sofa",
    "it": "Da: Shop\nInviato: lunedì\nA: Ana\nOggetto: Sofa",
    "pt": "De: Shop\nEnviado: segunda-feira\nPara: Ana\nAssunto: Sofa",
    "nl": "Van: Shop\nVerzonden: maandag\nAan: Ana\nOnderwerp: Sofa",
    "pl": "Od: Shop\nWysłano: poniedziałek\nDo: Ana\nTemat: Sofa",
    "sv": "Från: Shop\nSkickat: den 2 november\nTill: Ana\nÄmne: Sofa",
    "da": "Fra: Shop\nSendt: 2. november\nTil: Ana\nEmne: Sofa",
    "fi": "Lähettäjä: Shop\nLähetetty: maanantai\nVastaanottaja: Ana\nAihe: Sofa",
    "ru": "От: Shop\nОтправлено: понедельник\nКому: Ana\nТема: Sofa",
    "zh": "发件人： Shop\n发送时间： 2026年11月2日\n收件人： Ana\n主题： 沙发",
    "zh-tw": "寄件者: Shop\n寄件日期: 2026年11月2日\n收件者: Ana\n主旨: 沙發",
    "ja": "差出人: Shop\n送信日時: 2026年11月2日\n宛先: Ana\n件名: ソファ",
}


@pytest.mark.parametrize("language", BLOCKS)
def test_header_blocks_in_many_languages(language: str) -> None:
    assert visible(f"The new words.\n\n{BLOCKS[language]}\n\nthe old ones\n") == "The new words."


@given(st.lists(st.sampled_from(LINES), max_size=30))
def test_nothing_is_invented_and_something_always_stays(lines: list[str]) -> None:
    text = "\n".join(lines)
    shown = visible(text)
    assert bool(shown) == bool(text.strip())
    assert set(shown.split("\n")) <= {line.rstrip() for line in lines} | {""}
