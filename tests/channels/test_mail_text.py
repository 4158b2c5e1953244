"""Which words of a mail are new: the public sets of three other parsers, and cases of our own."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.mail_parse import parse_mail
from app.channels.mail_text import visible, without_quotes


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


def test_public_reply_sets(fixtures: Path) -> None:
    """Exact matches. ert and zapier leave signatures out, talon and crisp's first fragment keep some: either counts."""
    wrong, compared = [], 0
    for path in sorted((fixtures / "email/reply").iterdir()):
        expected = expectation(path) if ".expected" not in path.name else None
        if expected is None:
            continue
        if path.suffix == ".eml":
            message = parse_mail(path.read_bytes(), address="help@shop.example")
            text = str(message.content.get("full_text", message.text))
        else:
            text = path.read_bytes().decode()
        compared += 1
        if trimmed(expected) not in (trimmed(visible(text)), trimmed(without_quotes(text))):
            wrong.append(path.name)
    assert compared >= 80
    assert len(wrong) <= 0.05 * compared, wrong


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


@given(st.lists(st.sampled_from(LINES), max_size=30))
def test_nothing_is_invented_and_something_always_stays(lines: list[str]) -> None:
    text = "\n".join(lines)
    shown = visible(text)
    assert bool(shown) == bool(text.strip())
    assert set(shown.split("\n")) <= {line.rstrip() for line in lines} | {""}
