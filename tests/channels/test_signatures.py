"""Standard Webhooks and header secrets: the published vectors, and nothing that is one bit off."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import signatures
from app.errors import NotGenuine
from tests.channels.makers import NOW

KEY = bytes(range(32))
BODY = b'{"id":"1","text":"hello"}'


def signed(*, key: bytes = KEY, body: bytes = BODY, at: datetime = NOW, message_id: str = "msg_1") -> dict[str, str]:
    return signatures.sign_webhook(key, message_id, body, at=at)


def genuine(
    headers: dict[str, str], *, body: bytes = BODY, keys: tuple[bytes, ...] = (KEY,), at: datetime = NOW
) -> bool:
    try:
        signatures.verify_webhook(keys, headers, body, at=at)
    except NotGenuine:
        return False
    return True


@pytest.fixture(scope="module")
def vector(fixtures: Path) -> Any:
    return json.loads((fixtures / "partner_webhooks/vectors/vec_stdwebhooks_negative_and_rotation.json").read_bytes())


def test_published_vectors(vector: Any) -> None:
    key = signatures.webhook_key(vector["secret"])
    at = datetime.fromtimestamp(int(vector["webhook-timestamp"]), UTC)
    for case in vector["cases"]:
        headers = {name: vector[name] for name in ("webhook-id", "webhook-timestamp")}
        headers["webhook-signature"] = case["webhook-signature"]
        assert genuine(headers, body=vector["payload"].encode(), keys=(key,), at=at) is case["valid"], case


def test_published_secret_forms(vector: Any) -> None:
    assert len({signatures.webhook_key(form) for form in vector["secret_forms_equivalent"]}) == 1
    for empty in vector["must_reject_empty_secret"]:
        with pytest.raises(ValueError, match="empty"):
            signatures.webhook_key(empty)


def test_known_signature() -> None:
    """The example of the specification's libraries, written out so that it runs without the fixtures."""
    key = signatures.webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signatures.sign_webhook(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at=at)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_we_sign_we_accept() -> None:
    assert genuine(signed())


def flips(value: bytes) -> list[bytes]:
    return [
        bytes(b ^ (1 << bit) if i == place else b for i, b in enumerate(value))
        for place in range(len(value))
        for bit in range(8)
    ]


def test_one_bit_of_the_body_changed() -> None:
    assert not any(genuine(signed(), body=changed) for changed in flips(BODY))


def test_one_bit_of_the_secret_changed() -> None:
    assert not any(genuine(signed(), keys=(changed,)) for changed in flips(KEY))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_one_bit_of_a_header_changed(name: str) -> None:
    headers = signed()
    for changed in flips(headers[name].encode("latin-1")):
        assert not genuine({**headers, name: changed.decode("latin-1")}), changed


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_missing_or_empty(name: str) -> None:
    headers = signed()
    assert not genuine({**headers, name: ""})
    del headers[name]
    assert not genuine(headers)


@pytest.mark.parametrize(
    ("late_s", "accepted"), [(0, True), (300, True), (301, False), (-300, True), (-301, False), (86_400, False)]
)
def test_replay_window(late_s: int, accepted: bool) -> None:
    assert genuine(signed(), at=NOW + timedelta(seconds=late_s)) is accepted


@pytest.mark.parametrize("timestamp", ["", "now", "1.5e9", "-1", "٣", "9" * 40, " 1763798400"])
def test_timestamp_that_is_none(timestamp: str) -> None:
    assert not genuine({**signed(), "webhook-timestamp": timestamp})


def test_any_signature_of_the_list_passes() -> None:
    right = signed()["webhook-signature"]
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    headers = signed()
    assert genuine({**headers, "webhook-signature": f"{wrong} v2,abc v1a,xyz {right}"})
    assert not genuine({**headers, "webhook-signature": f"{wrong} {right.replace('v1,', 'v2,')}"})
    assert not genuine({**headers, "webhook-signature": right.removeprefix("v1,")})


def test_rotation_accepts_the_previous_secret() -> None:
    assert genuine(signed(key=b"old" * 10), keys=(KEY, b"old" * 10))
    assert not genuine(signed(key=b"older" * 10), keys=(KEY, b"old" * 10))


def test_an_empty_key_opens_nothing() -> None:
    forged = {"webhook-id": "1", "webhook-timestamp": str(int(NOW.timestamp())), "webhook-signature": "v1,"}
    assert not genuine(forged, keys=(b"",))
    assert not genuine(signed(), keys=())
    with pytest.raises(ValueError, match="empty"):
        signatures.sign_webhook(b"", "1", BODY, at=NOW)


def test_secret_without_padding_and_in_url_alphabet() -> None:
    key = b"\xfb\xff\xfe" * 9 + b"x"
    padded = base64.b64encode(key).decode()
    for form in (padded, padded.rstrip("="), base64.urlsafe_b64encode(key).decode(), f"whsec_{padded.rstrip('=')}"):
        assert signatures.webhook_key(form) == key


@pytest.mark.parametrize("secret", ["whsec_!!!", "whsec_abcde", "not base64 at all", "whsec_ü"])
def test_secret_that_is_none(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_") as error:
        signatures.webhook_key(secret)
    assert secret not in str(error.value)


@given(
    body=st.binary(max_size=200),
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(st.characters(exclude_categories=()), max_size=80),
    ),
)
def test_garbage_is_refused_and_never_fails(body: bytes, headers: dict[str, str]) -> None:
    assert not genuine(headers, body=body)


def test_header_token() -> None:
    signatures.verify_token("s3cret", "s3cret")
    for given_ in (None, "", "s3cres", "s3cret ", "S3cret", "s3cret\udc80", "é"):
        with pytest.raises(NotGenuine):
            signatures.verify_token("s3cret", given_)
    with pytest.raises(NotGenuine):
        signatures.verify_token("", "")
