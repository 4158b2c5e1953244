"""Online forms to the contract kit: nobody signs one, and nothing is answered by it."""

from datetime import datetime
from urllib.parse import urlencode

from app.channels.base import Call
from app.channels.kit import Description, Incoming, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS

GIVEN = {"name": "Mei", "email": "mei@example.org", "subject": "Chair", "consent": "on"}


def post(config: Config, payload: bytes, at: datetime) -> Call:
    headers = {"content-type": "application/x-www-form-urlencoded", "origin": "https://shop.example"}
    return Call("POST", "https://desk.test/forms/x", {}, headers, payload, at)


def filled(**fields: str) -> bytes:
    return urlencode({**GIVEN, **fields}).encode()


DESCRIPTION = Description(
    adapter=ADAPTERS["form"],
    config=lambda base: {"allowed_origins": ["https://shop.example"]},
    incoming=Incoming(
        sign=post,
        proof=Proof(secrets=(), body=False),
        message=lambda key, text: filled(message=text, submission_id=key),
        unknown=b"nobody=knows",
        samples=(filled(message="hello", lang="zh", reference_check="robot"),),
    ),
    not_checked={
        "outward": "answers go by mail, or by the channel that the form names",
        "check": "there are no credentials",
        "missing_and_garbled_headers_are_refused": "a plain form proves nothing; tests/channels/test_form.py has origins",
        "garbage_is_refused_or_read": "a plain form proves nothing",
        "unknown_kinds_are_named": "there is one kind: what does not fit the fields is an error that the visitor sees",
        "a_message_is_read": "who is answered by another channel needs no address here",
    },
)
