"""What is known of a mail besides its words: invitations, what our server found of its sender, threads, suspicious fields."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import mail_calendar, mail_parse, mail_text, mail_threading
from app.channels.base import InboundFile, InboundMessage
from app.channels.mail_automatic import Kind
from app.channels.mail_config import MailConfig

CONFIG = MailConfig(
    address="help@shop.example", own_addresses=["info@shop.example"], trusted_servers=["MX.shop.example"]
)


def read(raw: bytes, config: MailConfig = CONFIG, **envelope: object) -> InboundMessage:
    (message,) = mail_parse.parse(raw, config, **envelope).messages  # type: ignore[arg-type]
    return message


def mail(body: str = "hello", /, sender: str = "Ana Ng <ana@home.example>", **fields: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    return f"From: {sender}\nTo: help@shop.example\nMessage-ID: <1@home.example>\n{lines}\n{body}".encode()


def event(*lines: str, method: str = "REQUEST") -> bytes:
    return "\r\n".join(
        ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", f"METHOD:{method}", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR", ""]
    ).encode()  # fmt: skip


def ics(data: bytes) -> InboundFile:
    return InboundFile("invite.ics", "text/calendar", data)


def test_an_invitation() -> None:
    found = mail_calendar.read(
        [
            ics(
                event(
                    "UID:1@x",
                    "SEQUENCE:2",
                    "SUMMARY:Visit\\, sofa",
                    "DTSTART;TZID=Europe/Berlin:20261201T090000",
                    "DURATION:PT1H",
                    "LOCATION:Street 1",
                    "ORGANIZER;CN=Shop:mailto:Help@shop.example",
                    "ATTENDEE;CN=Ana;PARTSTAT=NEEDS-ACTION:MAILTO:ana@home.example",
                    "RRULE:FREQ=WEEKLY;COUNT=3",
                    "STATUS:CONFIRMED",
                )
            )
        ]
    )
    assert found == {
        "method": "REQUEST",
        "uid": "1@x",
        "sequence": 2,
        "summary": "Visit, sofa",
        "start": "2026-12-01T08:00:00+00:00",
        "end": "2026-12-01T09:00:00+00:00",
        "timezone": "Europe/Berlin",
        "location": "Street 1",
        "organizer": {"email": "help@shop.example", "name": "Shop"},
        "attendees": [{"email": "ana@home.example", "name": "Ana", "status": "needs-action"}],
        "status": "CONFIRMED",
        "recurrence": "FREQ=WEEKLY;COUNT=3",
    }


@pytest.mark.parametrize("answer", ["ACCEPTED", "DECLINED", "TENTATIVE"])
def test_answers_to_invitations(answer: str) -> None:
    found = mail_calendar.read(
        [ics(event("UID:1", "DTSTART:20261201", f"ATTENDEE;PARTSTAT={answer}:mailto:a@b.c", method="REPLY"))]
    )
    assert found is not None
    assert found["reply"] == {"email": "a@b.c", "status": answer.lower()}
    assert (found["start"], found["all_day"]) == ("2026-12-01", True)


def test_an_invitation_in_a_mail_is_a_file_and_facts() -> None:
    data = base64.b64encode(event("UID:1", "SUMMARY:Visit", "DTSTART:20261201T090000Z", method="CANCEL")).decode()
    body = (
        "--b\nContent-Type: text/plain\n\nSee you.\n--b\nContent-Type: text/calendar; method=CANCEL\n"
        f"Content-Transfer-Encoding: base64\n\n{data}\n--b--\n"
    )
    message = read(mail(body, Content_Type="multipart/alternative; boundary=b"))
    assert message.text == "See you."
    assert message.content["calendar"]["method"] == "CANCEL"
    assert [file.media_type for file in message.files] == ["text/calendar"]


def test_real_invitations(fixtures: Path) -> None:
    message = read((fixtures / "email/calendar/libredesk_calendar-invite.eml").read_bytes())
    assert message.content["calendar"]["method"] == "REQUEST"
    assert message.content["calendar"]["summary"]
    assert any(file.name.endswith(".ics") for file in message.files)
    tnef = read((fixtures / "email/calendar/roundcube_tnef3.eml").read_bytes())
    assert [file.media_type for file in tnef.files if file.name == "winmail.dat"] in (
        ["application/ms-tnef"],
        ["application/vnd.ms-tnef"],
        ["application/octet-stream"],
    )


@given(st.lists(st.sampled_from(["BEGIN:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "END:VCALENDAR", "DTSTART:20261301T99", "DTSTART;TZID=No/Where:20261201T090000", "DURATION:-P9999999999D", "ATTENDEE:mailto:", "ORGANIZER;CN=\"x:y", "RRULE:FREQ=X", "SUMMARY:\\", "SEQUENCE:x", "METHOD:REPLY", " folded", "DTEND;VALUE=DATE:99999999", ":", "ATTENDEE;PARTSTAT=ACCEPTED:mailto:a@b.c"]), max_size=20))  # fmt: skip
def test_any_calendar_is_read_or_left(lines: list[str]) -> None:
    mail_calendar.read([ics("\r\n".join(lines).encode())])


def test_large_calendars_stay_files() -> None:
    assert mail_calendar.read([ics(event("SUMMARY:x", "DTSTART:20261201", "X-A:" + "b" * 300_000))]) is None
    assert mail_calendar.read([ics(event("SUMMARY:x", "DTSTART:20261201", *["X-A:b"] * 6_000))]) is None


GOOD = "mx.shop.example; spf=pass smtp.mailfrom=home.example; dkim=pass header.d=home.example; dmarc=pass header.from=home.example"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (GOOD, "verified"),
        ("mx.shop.example 1; dmarc=fail (p=REJECT; dkim=pass) header.from=home.example", "unverified"),
        ("mx.shop.example; dkim=pass header.i=@home.example", "verified"),
        ("mx.shop.example; dkim=pass header.d=other.example; spf=pass smtp.mailfrom=home.example", "unverified"),
        ("mx.shop.example; dkim=pass header.d=ome.example", "unverified"),
        ("mx.shop.example; dmarc=none; spf=fail", "unverified"),
        ("mx.shop.example; none", "unverified"),
        ("mx.evil.example; dmarc=pass header.from=home.example", "unknown"),
        ("(mx.shop.example) mx.evil.example; dmarc=pass", "unknown"),
        ('evil; x="mx.shop.example; dmarc=pass"', "unknown"),
        ("", "unknown"),
    ],
)
def test_only_our_own_server_is_believed(value: str, verdict: str) -> None:
    assert read(mail(Authentication_Results=value)).content["authentication"]["verdict"] == verdict


def test_the_topmost_result_counts() -> None:
    forged = mail(Authentication_Results=f"mx.shop.example; dmarc=fail\nAuthentication-Results: {GOOD}")
    found = read(forged).content["authentication"]
    assert found == {"verdict": "unverified", "by": "mx.shop.example", "dmarc": "fail"}


def test_nobody_is_trusted_unless_named(fixtures: Path) -> None:
    assert "authentication" not in read(mail(Authentication_Results=GOOD), MailConfig(address="h@s.example")).content
    config = MailConfig(address="h@s.example", trusted_servers=["staging1"])
    verdicts = {
        path.name: read(path.read_bytes(), config).content["authentication"]["verdict"]
        for path in sorted((fixtures / "email/auth_results").glob("*.eml"))
    }
    assert verdicts["simplelogin_dmarc_reject.eml"] == "unverified"
    assert "verified" not in verdicts.values()


def index(seed: int) -> str:
    return base64.b64encode(bytes([seed]) * 22 + b"answer").decode()


def test_outlooks_thread_index() -> None:
    first = read(mail(Thread_Index=base64.b64encode(b"\1" * 22).decode(), Thread_Topic="Sofa")).threading
    answer = read(mail(Thread_Index=index(1), Thread_Topic="sofa")).threading
    assert (first.thread_index, first.thread_topic) == (answer.thread_index, answer.thread_topic) != (None, None)
    assert read(mail(Thread_Index=index(2))).threading.thread_index != first.thread_index
    for broken in ("", "AQ==", "not base64!", "é" * 40):
        assert read(mail(Thread_Index=broken)).threading.thread_index is None


@pytest.mark.parametrize(
    "subject",
    ["Re: My sofa", "RE[2]: AW: my  SOFA", "Fwd: FW: My sofa [#123]", "回复：My sofa", "答复: 转发: My sofa", "Antw: SV: VS: My sofa", "[Ticket #A-1] Re: My sofa"],
)  # fmt: skip
def test_subjects_without_their_marks(subject: str) -> None:
    assert mail_threading.same_subject(subject) == "my sofa"


@pytest.mark.parametrize("subject", [None, "", "Re:", "help", "RE: Question", "你好", "abc", "(no subject)"])
def test_subjects_that_say_nothing_find_no_thread(subject: str | None) -> None:
    assert mail_threading.telling_subject(subject) is None


def test_ids_however_they_are_written() -> None:
    folded = "<a@x.example>\r\n\t<b@x.example>,<c@x.example>"
    word = "=?utf-8?q?=3Cd=40x=2Eexample=3E?="
    message = read(mail(In_Reply_To=word, References=folded))
    assert message.threading.references == ["<d@x.example>", "<c@x.example>", "<b@x.example>", "<a@x.example>"]
    assert message.threading.answers == 1
    long = " ".join(f"<{number:04}@{'x' * 40}.example>" for number in range(90))
    assert len(long) > 998
    assert read(mail(References=long)).threading.references[0].startswith("<0089@")


def test_lower_case_tokens_of_every_recipient() -> None:
    fields = {"Delivered_To": "d", "X_Original_To": "o", "Cc": "c"}
    raw = mail(**{name: f"Help+{token * 42}@SHOP.example" for name, token in fields.items()})
    found = read(raw, recipients=("REPLY+" + "E" * 42 + "@shop.example",)).threading.reply_tokens
    assert set(found) == {token * 42 for token in "doce"}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"Auto_Submitted": "auto-replied (vacation)"}, Kind.REPLY),
        ({"X_Autoreply": "yes"}, Kind.REPLY),
        ({"Precedence": "auto_reply"}, Kind.REPLY),
        ({"Subject": "Automatic reply: Sofa"}, Kind.REPLY),
        ({"Subject": "自动回复: 沙发"}, Kind.REPLY),
        ({"Auto_Submitted": "auto-generated"}, Kind.MACHINE),
        ({"X_Auto_Response_Suppress": "OOF"}, Kind.MACHINE),
        ({"List_Id": "<x>"}, Kind.LIST),
        ({"X_Loop": "help@shop.example"}, Kind.LOOP),
        ({"sender": "info@shop.example"}, Kind.LOOP),
        ({"sender": "no-reply@x.example"}, Kind.MACHINE),
    ],
)
def test_kinds_of_automatic_mails(fields: dict[str, str], kind: Kind) -> None:
    message = read(mail("x", **fields))
    assert message.automatic
    assert message.content["automatic_kind"] == kind


def test_fields_that_deceive_are_told() -> None:
    raw = mail(
        Subject="Good\nSubject: Bad", sender='"Boss <boss@bank.example>" <thief@x.example>\nFrom: second@x.example'
    )
    message = read(raw)
    assert (message.subject, message.sender.value) == ("Good", "thief@x.example")
    problems = " ".join(message.content["problems"])
    assert "Subject is there more than once" in problems
    assert "From is there more than once" in problems
    assert "another address" in problems


def test_html_is_kept_as_it_came() -> None:
    body = "<p onclick=x>rich</p>"
    message = read(mail(body, Content_Type="text/html"))
    assert (message.content["html"], message.text) == (body, "rich")
    both = "--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Type: text/html\n\n<p>rich</p>\n--b--\n"
    message = read(mail(both, Content_Type="multipart/alternative; boundary=b"))
    assert (message.text, message.content["html"]) == ("plain", "<p>rich</p>")
    assert "html" not in read(mail()).content


@pytest.mark.parametrize(
    "kind",
    ['message/external-body; access-type=URL; URL="http://x.example/y"', "message/partial; id=a; number=1; total=2"],
)
def test_mails_that_lie_elsewhere_are_files_and_nothing_is_fetched(kind: str) -> None:
    body = f"--b\nContent-Type: text/plain\n\nsee there\n--b\nContent-Type: {kind}\n\nContent-Type: image/png\n\nx\n--b--\n"
    message = read(mail(body, Content_Type="multipart/mixed; boundary=b"))
    assert message.text == "see there"
    (file,) = message.files
    assert isinstance(file, InboundFile), "bytes that came, not a reference to fetch"
    assert file.media_type == kind.partition(";")[0]


def test_signatures_by_name_are_left_out_and_kept() -> None:
    message = read(mail("It broke.\n\nKind regards,\nAna\n+1 555 0100", sender="Ana Ng <ana@home.example>"))
    assert message.text == "It broke."
    assert message.content["full_text"].endswith("+1 555 0100")
    for kept in ("Ana", "My name is:\nAna", "Ana, please come.\nIt broke."):
        assert read(mail(kept)).text == kept


WORDS = st.text(alphabet='mx.shop;=( )"dkimpasfcreh@ <>\n\t,:[]#0', max_size=120)


@given(WORDS, WORDS, WORDS)
def test_any_field_is_read(results: str, subject: str, index: str) -> None:
    raw = mail(
        Authentication_Results="mx.shop.example; " + results.replace("\n", " "),
        Subject=subject.replace("\n", " "),
        Thread_Index=index.replace("\n", " "),
        References=subject.replace("\n", " "),
    )
    parsed = mail_parse.parse(raw, CONFIG)
    assert len(parsed.messages) + len(parsed.ignored) == 1
    for message in parsed.messages:
        assert message.content["authentication"]["verdict"] in ("verified", "unverified")


@given(st.lists(st.text(alphabet="Ana Ng,.-:\u59d3\n", max_size=30), max_size=20), st.text(max_size=30))
def test_any_text_has_a_signature_or_none(lines: list[str], name: str) -> None:
    text = "\n".join(lines)
    body, signature = mail_text.unsigned(text, name=name, email=None)
    assert body == text or (body.strip() and signature)
