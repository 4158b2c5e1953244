"""Delivery reports and complaints: what they say of which mail, measured against an independent reader's answers."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import mail_parse, mail_reasons
from app.channels.base import Parsed, RefusalReason, SendFailure
from app.channels.mail_config import MailConfig
from app.channels.mail_reasons import Reason

CONFIG = MailConfig(address="help@shop.example", bounce_address="bounces@shop.example")
OURS = "<1.2@shop.example>"
# The other reader's reasons as ours. What each means to the house is the same within a class: only ADDRESS refuses.
CLASSES = {
    "userunknown": Reason.ADDRESS,
    "hostunknown": Reason.ADDRESS,
    "hasmoved": Reason.ADDRESS,
    "mailboxfull": Reason.FULL,
    "mesgtoobig": Reason.SIZE,
    "exceedlimit": Reason.SIZE,
    "expired": Reason.EXPIRED,
    "delivered": Reason.DELIVERED,
    "mailererror": Reason.SYSTEM,
    "networkerror": Reason.SYSTEM,
    "systemerror": Reason.SYSTEM,
    "syntaxerror": Reason.SYSTEM,
    **dict.fromkeys(
        ("filtered", "rejected", "blocked", "spamdetected", "policyviolation", "securityerror", "authfailure", "suspend", "toomanyconn", "badreputation", "virusdetected", "norelaying", "contenterror"),
        Reason.REFUSED,
    ),
}  # fmt: skip


def read(raw: bytes, **envelope: object) -> Parsed:
    return mail_parse.parse(raw, CONFIG, **envelope)  # type: ignore[arg-type]


def report(*blocks: str, note: str = "It could not be delivered.", original: str = f"Message-ID: {OURS}\n") -> bytes:
    """A report as RFC 3464 wants it."""
    status = "\n\n".join(["Reporting-MTA: dns; mx.other.example", *blocks])
    return (
        "From: MAILER-DAEMON@mx.other.example\nTo: help@shop.example\nSubject: Undelivered Mail\nMessage-ID: <r@mx>\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        f"--b\nContent-Type: text/plain\n\n{note}\n\n--b\nContent-Type: message/delivery-status\n\n{status}\n\n"
        f"--b\nContent-Type: text/rfc822-headers\n\n{original}Subject: Sofa\n\n--b--\n"
    ).encode()


def block(address: str = "ana@home.example", action: str = "failed", status: str = "5.1.1", said: str = "") -> str:
    return f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {said or status}"


def test_a_wrong_address() -> None:
    parsed = read(report(block(said="550 5.1.1 <ana@home.example>: user unknown")))
    assert not parsed.messages
    (status,) = parsed.statuses
    assert (status.provider_message_id, status.status, status.failure) == (OURS, "failed", SendFailure.RECIPIENT)
    assert "user unknown" in (status.detail or "")
    (refusal,) = parsed.refusals
    assert (refusal.sender.value, refusal.reason, refusal.on) == ("ana@home.example", RefusalReason.UNREACHABLE, True)
    assert parsed.ignored == ("bounce",)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("5.2.2", "552 5.2.2 mailbox full"),
        ("5.7.1", "554 5.7.1 message rejected by policy"),
        ("5.7.26", "550 5.7.26 unauthenticated, DMARC"),
        ("5.0.0", "550 spam detected"),
        ("5.3.4", "552 message size exceeds limit"),
        ("5.0.0", "550 this account is disabled"),
    ],
)
def test_what_is_no_wrong_address(status: str, said: str) -> None:
    parsed = read(report(block(status=status, said=said)))
    assert [update.status for update in parsed.statuses] == ["failed"]
    assert parsed.refusals == ()


def test_delayed_is_no_news_and_delivered_is() -> None:
    delayed = read(report(block(action="delayed", status="4.4.1")))
    assert (delayed.statuses, delayed.refusals, delayed.ignored) == ((), (), ("delivery delayed",))
    delivered = read(report(block(action="delivered", status="2.1.5")))
    assert [update.status for update in delivered.statuses] == ["delivered"]


def test_recipients_are_told_apart() -> None:
    parsed = read(report(block("a@x.example", said="550 no such user"), block("b@x.example", "delayed", "4.2.2")))
    assert [refusal.sender.value for refusal in parsed.refusals] == ["a@x.example"]
    assert len(parsed.statuses) == 1


def test_our_message_is_known_by_the_address_it_bounced_to_and_by_the_envelope_id() -> None:
    ours = UUID(int=7)
    raw = report(block(), original="")
    by_address = read(raw, recipients=[f"bounces+b-{ours.hex}@shop.example"])
    assert by_address.statuses[0].our_id == str(ours)
    by_envelope = read(raw.replace(b"Reporting-MTA", f"Original-Envelope-Id: {ours.hex}\nReporting-MTA".encode()))
    assert by_envelope.statuses[0].our_id == str(ours)
    assert read(raw).statuses == ()


def test_a_report_in_prose() -> None:
    raw = (
        "From: Mail Delivery System <MAILER-DAEMON@mx.example>\nTo: help@shop.example\nSubject: Mail delivery failed\n\n"
        "A message that you sent could not be delivered:\n\n  ana@home.example\n    550 5.1.1 No such user\n\n"
        f"------ This is a copy of the message, including all the headers. ------\n\nMessage-ID: {OURS}\nTo: x@y.example\n"
    ).encode()
    parsed = read(raw, envelope_from="")
    assert [refusal.sender.value for refusal in parsed.refusals] == ["ana@home.example"]
    assert parsed.statuses[0].provider_message_id == OURS


def test_a_complaint() -> None:
    raw = (
        "From: fbl@provider.example\nTo: help@shop.example\nSubject: FW: Sofa\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nan abuse report\n--b\nContent-Type: message/feedback-report\n\n"
        "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <Ana@home.example>\n\n"
        f"--b\nContent-Type: message/rfc822\n\nMessage-ID: {OURS}\nTo: ana@home.example\n\nx\n--b--\n"
    ).encode()
    parsed = read(raw)
    (refusal,) = parsed.refusals
    assert (refusal.sender.value, refusal.reason) == ("ana@home.example", RefusalReason.COMPLAINED)
    assert [update.status for update in parsed.statuses] == ["delivered"]
    assert not parsed.messages


@pytest.mark.parametrize(("disposition", "statuses"), [("displayed", ["read"]), ("deleted", [])])
def test_a_read_receipt(disposition: str, statuses: list[str]) -> None:
    raw = (
        "From: ana@home.example\nTo: help@shop.example\nSubject: Read: Sofa\n"
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nI have seen it.\n--b\nContent-Type: message/disposition-notification\n\n"
        f"Final-Recipient: rfc822; ana@home.example\nOriginal-Message-ID: {OURS}\n"
        f"Disposition: manual-action/MDN-sent-manually; {disposition}\n\n--b--\n"
    ).encode()
    parsed = read(raw)
    assert [(update.provider_message_id, update.status) for update in parsed.statuses] == [(OURS, x) for x in statuses]
    assert (parsed.messages, parsed.refusals, parsed.ignored) == ((), (), ("read receipt",))


def test_people_who_forward_a_report_stay_people() -> None:
    inner = report(block(said="550 no such user"))
    raw = (
        b"From: ana@home.example\nTo: help@shop.example\nSubject: I get this\nMessage-ID: <a@home.example>\n"
        b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: text/plain\n\nWhy do I get this?\n"
        b"--o\nContent-Type: message/rfc822\n\n" + inner + b"\n--o--\n"
    )
    parsed = read(raw, envelope_from="ana@home.example")
    assert [message.text for message in parsed.messages] == ["Why do I get this?"]
    assert parsed.refusals == ()
    quoted = b"From: ana@home.example\nSubject: Undeliverable\n\n550 5.1.1 <bo@x.example>: user unknown\n"
    assert read(quoted, envelope_from="ana@home.example").messages


def test_a_vacation_notice_to_the_bounce_address_is_a_message() -> None:
    """Programs answer to the envelope sender (RFC 3834), which is where bounces go."""
    raw = (
        b"From: ana@home.example\nTo: help@shop.example\nSubject: Out of office: Sofa\nAuto-Submitted: auto-replied\n\n"
        b"I am away. Write to bo@home.example instead; my mailbox is not read.\n"
    )
    parsed = read(raw, envelope_from="", recipients=[f"bounces+b-{UUID(int=7).hex}@shop.example"])
    assert [message.automatic for message in parsed.messages] == [True]
    assert (parsed.statuses, parsed.refusals) == ((), ())


def test_vacation_notices_are_no_reports(fixtures: Path) -> None:
    for path in sorted((fixtures / "email/auto_reply").glob("*.eml")):
        parsed = read(path.read_bytes())
        assert len(parsed.messages) == 1, path.name
        assert parsed.messages[0].automatic, path.name
        assert parsed.messages[0].content["automatic_kind"] == "reply", path.name


def test_agreement_with_another_reader_of_bounces(fixtures: Path) -> None:
    """Per recipient: whether the address is bad for good, and the class of the reason. Seven of 73 differ:

    six where the other reader takes "user unknown" for a filter because its table names the mailer (apachejames, mailfoundry,
    postfix-07, receivingses, surfcontrol, x1), and one where it reads "User Unknown" as a full mailbox (rfc3464-01).
    """
    wrong: list[str] = []
    total = 0
    for path in sorted((fixtures / "email/bounce").glob("*.expected.json")):
        expected = json.loads(path.read_bytes())
        raw = path.with_name(path.name.replace(".expected.json", ".eml")).read_bytes()
        mail = mail_parse.take_apart(raw)
        found = mail_parse.news_of(mail, CONFIG, [], None)
        got = [(item.reason, item.permanent) for item in found.recipients] if found else []
        for item in expected:
            total += 1
            if (CLASSES[item["reason"]], item["hard"]) not in got:
                wrong.append(f"{path.name}: {item['reason']} {item['hard']}, here {got}")
    right = total - len(wrong)
    print(f"bounces: {right} of {total} agree ({right / total:.1%})", *wrong, sep="\n")
    assert total >= 73
    assert right >= 0.9 * total


def test_every_bounce_and_complaint_is_one(fixtures: Path) -> None:
    missed = []
    for path in sorted((fixtures / "email/bounce").glob("*.eml")):
        parsed = read(path.read_bytes())
        if parsed.messages:
            missed.append(path.name)
        if "_arf-" in path.name:
            assert parsed.ignored == ("complaint",), path.name
            assert all(refusal.reason == RefusalReason.COMPLAINED for refusal in parsed.refusals), path.name
    assert missed == []


def test_the_ids_of_returned_mails_are_found(fixtures: Path) -> None:
    """Where the bounce holds the Message-ID of the returned mail at all, as bytes."""
    missed, compared = [], 0
    for path in sorted((fixtures / "email/bounce").glob("sisimai_*.eml")):
        raw = path.read_bytes()
        _, _, rest = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
        if rest.lower().count(b"message-id: <") != 1 or any(
            name in raw.lower() for name in (b"base64", b"quoted-printable")
        ):
            continue
        compared += 1
        start = rest.lower().index(b"message-id: <") + len(b"message-id: ")
        wanted = rest[start : rest.index(b">", start) + 1].decode()
        found = mail_parse.news_of(mail_parse.take_apart(raw), CONFIG, [], None)
        if found is None or wanted not in found.message_ids:
            missed.append(path.name)
    assert compared > 30
    assert len(missed) <= 0.05 * compared, missed


WORDS = st.sampled_from(["550", "5.1.1", "user unknown", "mailbox full", "<a@b.example>", ">>> DATA\n<<<", "said:", "Message-ID:", "<x@y>", "\n", "-----", "copy of", "spam"])  # fmt: skip


@given(st.lists(WORDS, max_size=60), st.booleans())
def test_any_prose_is_read(words: list[str], null_sender: bool) -> None:
    raw = b"From: MAILER-DAEMON@x.example\nSubject: Undelivered Mail\n\n" + " ".join(words).encode()
    parsed = read(raw, envelope_from="" if null_sender else None)
    assert len(parsed.messages) + len(parsed.ignored) == 1


@given(st.text(max_size=400))
def test_any_words_have_a_reason(said: str) -> None:
    assert mail_reasons.reason_of(said) in Reason


@pytest.mark.parametrize(
    "piece", ["user ", "<a", "a@", "550 ", "mailbox is ", "5.", "- ", "\n", "over quota of ", "a" * 79 + " "]
)
def test_reasons_look_at_a_bounded_text(piece: str) -> None:
    """Longer texts are cut before any pattern sees them: the same answer however much follows."""
    text = piece * (mail_reasons.SCANNED // len(piece) + 1)
    assert mail_reasons.reason_of(text) == mail_reasons.reason_of(text + "user unknown" * 100_000)
