"""Values and small steps that the kit's checks have in common."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from app.channels.base import Call, OutboundFile, Outgoing, Parsed
from app.channels.config import split
from app.channels.kit.description import Description, Incoming, Outward
from app.channels.text import KEY_LIMIT

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
BASE = "https://provider.test"
# The address that described calls are signed for; a test on the whole house gives its channel this id.
CHANNEL_ID = UUID("01935555-0000-7000-8000-0000000000aa")
WEBHOOK = f"https://desk.test/channels/{CHANNEL_ID}/webhook"
MESSAGE_ID = UUID("01935555-0000-7000-8000-000000000001")
CONVERSATION_ID = UUID("01935555-0000-7000-8000-000000000002")


class Skipped(Exception):
    """The check does not fit this adapter; the text says why."""


def incoming(description: Description) -> Incoming:
    if description.incoming is None:
        raise Skipped(description.not_checked.get("incoming", "no calls come in"))
    return description.incoming


def outward(description: Description) -> Outward:
    if description.outward is None:
        raise Skipped(description.not_checked.get("outward", "nothing goes out by HTTP"))
    return description.outward


def configured(description: Description, base: str = BASE, **changed: Any) -> Any:
    return description.adapter.config_model.model_validate({**description.config(base), **changed})


def genuine(description: Description, payload: bytes, *, at: datetime = NOW) -> Call:
    return incoming(description).sign(description.config(BASE), payload, at)


def read(description: Description, payload: bytes, *, at: datetime = NOW) -> Parsed:
    """As the house reads a call: verified, then parsed. Raises NotGenuine, Unparseable."""
    pulled = incoming(description).pulled
    if pulled is not None:
        return pulled(payload)
    config, call = configured(description), genuine(description, payload, at=at)
    description.adapter.verify(config, call)
    return description.adapter.parse(config, call)


def outgoing(description: Description, text: str = "We have found it.", **changed: Any) -> Outgoing:
    values: dict[str, Any] = {
        "message_id": MESSAGE_ID,
        "conversation_id": CONVERSATION_ID,
        "seq": 2,
        "kind": "reply",
        "text": text,
        "address": outward(description).address,
        "author_name": "Ana",
        "created_at": NOW,
    }
    return Outgoing(**{**values, **outward(description).fields, **changed})


def a_file() -> OutboundFile:
    return OutboundFile("photo.png", "image/png", b"\x89PNG\r\n\x1a\nxx", "https://desk.test/files/1/photo.png?signed")


def calls(description: Description) -> Sequence[bytes]:
    """The payloads that calls hold."""
    return incoming(description).bells or payloads(description)


def payloads(description: Description) -> list[bytes]:
    """Everything that the description can say, once."""
    given = incoming(description)
    found = [*given.samples, given.unknown]
    if given.message is not None:
        found += [given.message("k1", "hello"), *([given.bad] if given.bad is not None else [])]
        if given.batch is not None:
            found.append(given.batch([given.message("k1", "one"), given.message("k2", "two")]))
    if given.edit is not None:
        found.append(given.edit("k1", "changed"))
    if given.delete is not None:
        found.append(given.delete("k1"))
    if given.status is not None:
        found += [given.status("p1", word) for word in given.statuses]
    return found


def secret_values(config: BaseModel) -> list[str]:
    """The strings that must never be seen; very short ones would be found everywhere."""
    return [text for value in split(config)[1].values() for text in _strings(value) if len(text) >= 6]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a value, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _strings(name)
            yield from _strings(item)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            yield from _strings(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from _strings(getattr(value, part.name))


def require_storable(parsed: Parsed, config: BaseModel) -> None:
    """What an adapter gives is what Postgres takes: no NUL, no half surrogates, times with a zone, keys of a length."""
    for text in _strings(parsed):
        assert "\0" not in text, f"a text with U+0000: {text[:60]!r}"
        assert not any("\ud800" <= char <= "\udfff" for char in text), f"half a surrogate pair: {text[:60]!r}"
    for message in parsed.messages:
        _require_key(message.external_id, "external_id")
    for echo in parsed.echoes:
        _require_key(echo.external_id, "external_id")
    keyed = [(change.key, change.sender) for change in parsed.changes]
    keyed += [(refusal.key, refusal.sender) for refusal in parsed.refusals]
    keyed += [(call.key, call.sender) for call in parsed.calls if call.sender is not None]
    for key, _ in keyed:
        _require_key(key, "key")
    for content in (item.content for group in (parsed.messages, parsed.echoes, parsed.calls) for item in group):
        json.dumps(dict(content), allow_nan=False)
    senders = [message.sender for message in parsed.messages] + [echo.recipient for echo in parsed.echoes]
    for person in (*senders, *(sender for _, sender in keyed)):
        _require_key(person.value, "sender.value")
        assert person.kind, "a sender needs a kind"
        json.dumps(dict(person.address), allow_nan=False)
    for moment in _moments(parsed):
        assert moment.tzinfo is not None, f"a time without a zone: {moment}"
    hidden = [text for text in _strings(parsed) for secret in secret_values(config) if secret in text]
    assert not hidden, "what was read holds a secret of the configuration"


def _require_key(key: Any, name: str) -> None:
    assert isinstance(key, str), f"{name} is {type(key).__name__}, not str"
    assert 0 < len(key) <= KEY_LIMIT, f"{name} has {len(key)} characters, 1 to {KEY_LIMIT} are stored"


def _moments(parsed: Parsed) -> Iterator[datetime]:
    found = [message.sent_at for message in parsed.messages] + [echo.sent_at for echo in parsed.echoes]
    found += [change.at for change in parsed.changes] + [call.at for call in parsed.calls]
    found += [status.at for status in parsed.statuses] + [refusal.at for refusal in parsed.refusals]
    yield from (moment for moment in found if moment is not None)
