"""The form adapter: whatever a browser, a script or a robot sends, and every field that an operator can ask for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.channels import form_body, form_read, form_token
from app.channels.base import Call, InboundFile, Unparseable
from app.channels.config import split
from app.channels.form import FormAdapter, origin_of
from app.channels.form_body import Upload
from app.channels.form_config import FormConfig
from app.channels.origins import is_listed
from app.channels.walk_in import WalkInAdapter
from app.errors import NotGenuine
from app.vault import BadToken, Vault
from tests.channels.makers import NOW, call, outgoing

URLENCODED = "application/x-www-form-urlencoded"
GOOD = {"name": "Grace", "email": "Grace@Customer.example", "message": "It wobbles.", "consent": "on"}


def config(**given: Any) -> FormConfig:
    return FormConfig.model_validate(given)


def posted(fields: dict[str, str], **headers: str) -> Call:
    return call(urlencode(fields).encode(), {"content-type": URLENCODED, **headers})


def multipart(*parts: tuple[str, str | tuple[str, str, bytes]], boundary: str = "xyz") -> Call:
    body = b""
    for name, value in parts:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, tuple):
            body += f'; filename="{value[0]}"\r\nContent-Type: {value[1]}\r\n\r\n'.encode() + value[2]
        else:
            body += f"\r\n\r\n{value}".encode()
        body += b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return call(body, {"content-type": f"multipart/form-data; boundary={boundary}"})


def test_the_shipped_fields() -> None:
    shown = config().shown
    assert [(field.name, field.kind, field.maps_to, field.required) for field in shown] == [
        ("name", "text", "name", False),
        ("email", "email", "email", True),
        ("subject", "text", "subject", False),
        ("message", "textarea", "text", True),
        ("consent", "checkbox", "consent", True),
    ]
    assert shown[3].text("zh") == "留言内容"


def test_fields_may_be_bare_names() -> None:
    shown = config(fields=["Full Name", "e-mail", "phone", "message", "Order number", "consent", "files"]).shown
    assert [(field.kind, field.maps_to, field.required) for field in shown] == [
        ("text", "name", False),
        ("email", "email", False),
        ("phone", "phone", False),
        ("textarea", "text", True),
        ("text", "attribute", False),
        ("checkbox", "consent", True),
        ("file", "file", False),
    ]


def test_what_was_given_comes_back_the_same() -> None:
    made = config(
        allowed_origins=["https://shop.example"],
        fields=["message", {"name": "colour", "kind": "select", "options": ["red", {"value": "b", "label": "Blue"}]}],
        title={"en": "Write", "zh": "写"},
        reply_channel_id=str(uuid4()),
    )
    public, secrets = split(made)
    assert secrets == {}
    assert FormConfig.model_validate(orjson.loads(orjson.dumps(public))) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"fields": ["message", "message"]},
        {"fields": [{"name": "colour", "kind": "select"}]},
        {"fields": [{"name": "ok", "kind": "text", "maps_to": "consent"}]},
        {"fields": [{"name": "ok", "kind": "text", "maps_to": "file"}]},
        {"fields": ["form_token"]},
        {"fields": ["bait"], "trap_field": "bait"},
        {"fields": [{"name": "<script>"}]},
        {"fields": [7]},
        {"redirect_url": "javascript:alert(1)"},
        {"reply_channel_id": "not an id"},
        {"allowed_origins": ["https://shop.example/path"]},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)


def test_a_post_is_a_message() -> None:
    [message] = FormAdapter().parse(config(), posted({**GOOD, "subject": "Chair"})).messages
    assert (message.sender.kind, message.sender.value) == ("email", "grace@customer.example")
    assert (message.sender.name, message.sender.address) == ("Grace", {"email": "grace@customer.example"})
    assert (message.text, message.subject) == ("It wobbles.", "Chair")
    [consent] = message.content["consents"]
    assert (consent["purpose"], consent["version"]) == ("contact", "1")
    assert len(consent["digest"]) == 64


def test_the_same_by_multipart_and_json_and_the_same_key() -> None:
    adapter = FormAdapter()
    [one] = adapter.parse(config(), posted(GOOD)).messages
    [two] = adapter.parse(config(), multipart(*GOOD.items())).messages
    as_json = call(orjson.dumps({**GOOD, "consent": True}), {"content-type": "application/json"})
    [three] = adapter.parse(config(), as_json).messages
    assert one == two == three
    [other] = adapter.parse(config(), posted({**GOOD, "message": "Another one"})).messages
    assert other.external_id != one.external_id


def test_the_key_that_the_intake_gave_counts() -> None:
    [message] = FormAdapter().parse(config(), posted(GOOD, **{"x-form-key": "abc"})).messages
    assert message.external_id == "abc"


def test_files_come_with_it() -> None:
    asked = config(fields=["message", "files"])
    sent = multipart(
        ("message", "see"), ("files", ("../a.png", "image/png", b"\x89PNG")), ("other", ("b", "x/y", b"?"))
    )
    [message] = FormAdapter().parse(asked, sent).messages
    assert message.files == [InboundFile("a.png", "image/png", b"\x89PNG"), InboundFile("b", "x/y", b"?")]
    [message] = FormAdapter().parse(config(fields=["message", "files"], undeclared="ignore"), sent).messages
    assert message.files == [InboundFile("a.png", "image/png", b"\x89PNG")]


def test_what_comes_along_is_kept() -> None:
    own = (("reference_check", ""), ("form_token", ""), ("submission_id", "s"), ("lang", "en"), ("_charset_", "utf-8"))
    along = (("company", "ACME"), ("order_number", "4711"), ("size", "a\nprice: 1"), ("size", "b"), ("empty", " "))
    rest = (("csrf_token", "t"), ("terms", "yes"), ("photo", ("a.png", "image/png", b"\x89PNG")))
    sent = multipart(*GOOD.items(), *own, *along, *rest)
    [message] = FormAdapter().parse(config(), sent).messages
    assert message.text == "It wobbles.\n\ncompany: ACME\norder_number: 4711\nsize: a price: 1, b"
    assert message.content["form"] == {"company": "ACME", "order_number": "4711", "size": "a price: 1, b"}
    assert message.files == [InboundFile("a.png", "image/png", b"\x89PNG")]
    [message] = FormAdapter().parse(config(undeclared="ignore"), sent).messages
    assert (message.text, message.files) == ("It wobbles.", [])


def test_what_comes_along_is_bounded() -> None:
    many = {f"f{number:02} :": "x" * 2_000 for number in range(80)}
    [message] = FormAdapter().parse(config(), posted({**GOOD, **many})).messages
    lines = message.text.split("\n")[2:]
    assert lines == [f"f{number:02}: {'x' * 1_000}" for number in range(50)]


def test_files_beyond_the_limits_are_told() -> None:
    photos = [(f"photo{number}", ("a.png", "image/png", b"\x89PNG")) for number in range(3)]
    sent = multipart(*GOOD.items(), *photos)
    assert FormAdapter().parse(config(max_files=2), sent).errors == ["photo0: too_many_files"]
    assert FormAdapter().parse(config(file_limit=3), sent).errors[0] == "photo0: file_too_large"


def test_addresses_that_are_trusted() -> None:
    trusting = config(trusted_addresses=["203.0.113.7", "10.1.2.3/8", "2001:db8::/32"])
    assert trusting.trusted_addresses == ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"]
    assert all(trusting.trusts(address) for address in ("203.0.113.7", "10.9.9.9", "::ffff:10.0.0.1", "2001:db8::1"))
    assert not any(trusting.trusts(address) for address in ("203.0.113.8", "", "unix", "2001:db9::1"))
    with pytest.raises(ValidationError, match="must be an address or a network"):
        config(trusted_addresses=["shop.example"])


def test_attributes_stand_below_the_text() -> None:
    asked = config(
        fields=[
            "message",
            {"name": "order", "label": {"en": "Order number", "zh": "订单号"}},
            {"name": "colour", "kind": "select", "options": [{"value": "b", "label": "Blue"}]},
            {"name": "gift", "kind": "checkbox"},
        ]
    )
    [message] = (
        FormAdapter().parse(asked, posted({"message": "Hi", "order": "77", "colour": "b", "gift": "1"})).messages
    )
    assert message.text == "Hi\n\nOrder number: 77\nColour: Blue\nGift: ✓"
    assert message.sender.kind == "form"


@pytest.mark.parametrize(
    ("changed", "field", "what"),
    [
        ({"email": ""}, "email", "missing"),
        ({"email": "nobody"}, "email", "email"),
        ({"email": "a@b"}, "email", "email"),
        ({"message": "  "}, "message", "missing"),
        ({"message": "x" * 20_001}, "message", "too_long"),
        ({"consent": "off"}, "consent", "consent"),
        ({"consent": ""}, "consent", "consent"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, str], field: str, what: str) -> None:
    submission = form_read.read(config(), posted({**GOOD, **changed}))
    assert [(wrong.field, wrong.what) for wrong in form_read.check(config(), submission)] == [(field, what)]


def test_other_kinds_are_checked() -> None:
    asked = config(
        fields=[
            "message",
            "phone",
            {"name": "colour", "kind": "select", "options": ["red"]},
            {"name": "photo", "kind": "file", "required": True},
        ],
        file_limit=3,
        max_files=1,
    )
    sent = multipart(
        ("message", "x"),
        ("phone", "call me"),
        ("colour", "green"),
        ("photo", ("a", "x/y", b"1234")),
        ("photo", ("b", "x/y", b"1")),
    )
    found = form_read.check(asked, form_read.read(asked, sent))
    assert [(wrong.field, wrong.what) for wrong in found] == [
        ("phone", "phone"),
        ("colour", "option"),
        ("photo", "file_too_large"),
        ("photo", "too_many_files"),
    ]
    assert form_read.check(asked, form_read.read(asked, multipart(("message", "x"))))[0].what == "missing"


def test_nothing_at_all_is_no_message() -> None:
    asked = config(fields=[{"name": "message"}, "name"])
    asked = config(fields=[{"name": "message", "required": False}, "name"])
    assert form_read.check(asked, form_read.read(asked, posted({"name": "Grace"}))) == [
        form_read.Wrong("message", "missing")
    ]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("+44 (0)20 7946-0000", "+4402079460000"), ("0049 30 1234567", "+49301234567"), ("030/12345", "03012345")],
)
def test_numbers_lose_what_people_put_between(given: str, kept: str) -> None:
    assert form_read.telephone(given) == kept


def test_text_in_another_charset() -> None:
    fields = urlencode(
        {"_charset_": "gb18030", "message": "椅子坏了", "email": "a@b.example", "consent": "1"}, encoding="gb18030"
    )
    [message] = FormAdapter().parse(config(), call(fields.encode(), {"content-type": URLENCODED})).messages
    assert message.text == "椅子坏了"


@pytest.mark.parametrize(
    ("headers", "genuine"),
    [
        ({}, True),
        ({"origin": "https://shop.example"}, True),
        ({"origin": "https://SHOP.example:443"}, True),
        ({"origin": "https://desk.example"}, True),  # our own page
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://shop.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "null", "referer": "https://shop.example/contact?x=1"}, True),
        ({"referer": "https://shop.example/contact"}, True),
        ({"referer": "https://evil.example/https://shop.example"}, False),
    ],
)
def test_only_pages_of_the_listed_sites_are_genuine(headers: dict[str, str], genuine: bool) -> None:
    listed = config(allowed_origins=["https://shop.example"])
    if genuine:
        FormAdapter().verify(listed, posted(GOOD, **headers))
    else:
        with pytest.raises(NotGenuine):
            FormAdapter().verify(listed, posted(GOOD, **headers))
    FormAdapter().verify(config(), posted(GOOD, **headers))  # no list lets everybody in


def test_origins_that_are_no_origins() -> None:
    assert origin_of(posted({}, referer="nonsense")) is None
    assert not is_listed(["https://a.example"], "https://a.example:port", own="https://desk.example")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"[1]"),
        ("application/json", b"{"),
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\ncut'),
        ("multipart/form-data; boundary=" + "x" * 500, b""),
        ("image/png", b"\x89PNG"),
        (URLENCODED, b"a=1&" * 1_000),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Unparseable):
        form_body.items(content_type, body)


async def test_nothing_is_sent_by_these_channels() -> None:
    from app.channels.base import SendError

    for adapter in (FormAdapter(), WalkInAdapter()):
        assert adapter.capabilities.answers is False
        with pytest.raises(SendError):
            await adapter.send(adapter.config_model(), outgoing(), None)  # type: ignore[arg-type]


def test_a_token_says_when_the_page_was_opened_and_nothing_else() -> None:
    vault, channel_id = Vault(b"a key for the tests, 32 bytes..."), uuid4()
    token = form_token.issue(vault, channel_id, at=NOW)
    assert form_token.opened_at(vault, channel_id, token) == NOW
    for forged in (
        "",
        "x",
        ("A" if token[0] != "A" else "B") + token[1:],
        vault.sign("progress", channel_id, valid_s=9),
    ):
        with pytest.raises(BadToken):
            form_token.opened_at(vault, channel_id, forged)
    with pytest.raises(BadToken):
        form_token.opened_at(vault, uuid4(), token)


CONTENT_TYPES = st.one_of(
    st.sampled_from([URLENCODED, "multipart/form-data; boundary=b", "application/json", "text/plain", "", "a/b"]),
    st.text(max_size=60),
)


@settings(deadline=None, max_examples=300)
@given(CONTENT_TYPES, st.binary(max_size=600))
def test_no_body_is_worse_than_unreadable(content_type: str, body: bytes) -> None:
    try:
        found = form_body.items(content_type, body)
    except Unparseable:
        return
    assert len(found) <= form_body.FIELDS_LIMIT
    for name, value in found:
        assert "\0" not in name
        name.encode()
        if isinstance(value, str):
            value.encode()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["name", "email", "subject", "message", "consent", "phone", "files", "reference_check", "x"]
            ),
            st.one_of(st.text(max_size=50), st.binary(max_size=30)),
        ),
        max_size=8,
    )
)
def test_every_submission_is_a_message_or_says_what_is_wrong(parts: list[tuple[str, str | bytes]]) -> None:
    asked = config(fields=["name", "email", "subject", "message", "consent", "phone", "files"])
    items = [(name, value if isinstance(value, str) else ("f", "a/b", value)) for name, value in parts]
    try:
        parsed = FormAdapter().parse(asked, multipart(*items, boundary="0f3c2b1a9d"))
    except Unparseable:
        return
    assert len(parsed.messages) + bool(parsed.errors) == 1
    for message in parsed.messages:
        message.text.encode()
        orjson.dumps(dict(message.content))
        assert message.sender.value


def test_uploads_keep_their_bytes() -> None:
    data = bytes(range(256)) + b"\r\n--xyz\r"
    [(name, upload)] = form_body.items("multipart/form-data; boundary=xyz", multipart(("f", ("a", "b/c", data))).body)
    assert name == "f"
    assert isinstance(upload, Upload)
    assert upload.data == data
