"""Sealed secrets and signed links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ids import new_id
from app.vault import BadToken, ExpiredToken, Vault

VAULT = Vault(b"one key, long enough to be one")


def test_what_is_sealed_opens_with_the_same_key_only() -> None:
    sealed = VAULT.seal("top secret")
    assert "top secret" not in sealed
    assert VAULT.open(sealed) == "top secret"
    with pytest.raises(BadToken):
        Vault(b"another key, as long as the one").open(sealed)


def test_a_link_token_is_useless_for_anything_else() -> None:
    subject = new_id()
    token = VAULT.sign("feedback", subject, valid_s=60)
    assert VAULT.verify("feedback", token) == subject
    with pytest.raises(BadToken):
        VAULT.verify("progress", token)
    with pytest.raises(ExpiredToken):
        VAULT.verify("feedback", VAULT.sign("feedback", subject, valid_s=-1))


@given(st.integers(0, 255), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(place: int, bit: int) -> None:
    import base64

    token = VAULT.sign("feedback", new_id(), valid_s=60)
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(BadToken):
        VAULT.verify("feedback", base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))


@given(st.text(max_size=80))
def test_garbage_is_not_a_token(text: str) -> None:
    with pytest.raises(BadToken):
        VAULT.verify("feedback", text)
    assert VAULT.read_reply_token(text) is None


def test_a_reply_token_fits_a_mail_address() -> None:
    conversation = new_id()
    token = VAULT.reply_token(conversation)
    assert token == token.lower()
    assert len(token) <= 42
    assert VAULT.read_reply_token(token) == conversation
    assert VAULT.read_reply_token(token.upper()) == conversation
    assert VAULT.read_reply_token(token[:-1] + ("a" if token[-1] != "a" else "b")) is None or token[-1] in "aeimquy4"
