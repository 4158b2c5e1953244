"""A call of the WhatsApp Cloud API, read: messages, edits, reactions, statuses, echoes of the phone app, calls."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from app.channels import meta
from app.channels.base import (
    CallUpdate,
    Change,
    ChangeKind,
    Echo,
    InboundMessage,
    Parsed,
    Sender,
    SendFailure,
    StatusUpdate,
)
from app.channels.meta import BadItem, Found, Json, moment, obj, sequence
from app.channels.meta_graph import Codes
from app.channels.text import key, word
from app.channels.whatsapp_show import Shown, shown

# Business-scoped user id, its own or its parent's: two letters of a country, then letters and digits.
_BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
_PART = re.compile(r".{1,100}:\d{1,3}/\d{1,3}")
_STATUSES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
_CALL_STATES = {"RINGING": "ringing", "ACCEPTED": "answered", "REJECTED": "missed"}
_FIELDS = ("messages", "message_echoes", "smb_message_echoes", "calls")


def parse(body: Json, *, phone_number_id: str, codes: Codes) -> Parsed:
    """Every item of the call; items of other numbers are ignored."""
    found = Found()
    if "entry" not in body and any(name in body for name in ("messages", "statuses")):
        _value(body, "messages", "body", found, codes)  # as 360dialog passes it on
        return found.parsed()
    for where, entry in meta.entries(body, "whatsapp_business_account", found):
        for place, change in enumerate(sequence(entry.get("changes"))):
            spot = f"{where} change {place}"
            with found.item(spot):
                _change(change, phone_number_id, spot, found, codes)
    return found.parsed()


def _change(change: Any, phone_number_id: str, where: str, found: Found, codes: Codes) -> None:
    if not isinstance(change, dict):
        raise BadItem("not an object")
    field, value = change.get("field", "messages"), obj(change.get("value"))
    ours = key(obj(value.get("metadata")).get("phone_number_id"))
    if ours is not None and ours != phone_number_id:
        found.ignore(meta.OTHER_ACCOUNT)
    elif field in _FIELDS:
        _value(value, field, where, found, codes)
    else:
        found.ignore(field, value.get("event"))


def _value(value: Json, field: str, where: str, found: Found, codes: Codes) -> None:
    contacts = [contact for contact in sequence(value.get("contacts")) if isinstance(contact, dict)]
    readers: dict[str, Callable[[Json], None]] = {
        "messages": lambda item: _message(item, contacts, found),
        "message_echoes": lambda item: _echo(item, contacts, value, found),
        "calls": lambda item: _call(item, contacts, found),
        "statuses": lambda item: _status(item, contacts, found, codes),
    }
    empty = True
    for name, read in readers.items():
        for place, item in enumerate(sequence(value.get(name))):
            empty = False
            with found.item(f"{where} {name} {place}"):
                if not isinstance(item, dict):
                    raise BadItem("not an object")
                read(item)
    for error in sequence(value.get("errors")):
        empty = False
        found.ignore("error", _error_text(error))
    if empty:
        found.ignore(field, "without items")


def _contact(contacts: Sequence[Json], *ids: str | None) -> Json:
    """The one that an id names; a single one is meant in any case, because WhatsApp writes some numbers in two ways."""
    for contact in contacts:
        if any(known in ids for known in (key(contact.get("wa_id")), key(contact.get("user_id"))) if known):
            return contact
    return contacts[0] if len(contacts) == 1 else {}


def _is_bsuid(value: str | None) -> bool:
    return value is not None and _BSUID.fullmatch(value) is not None


def _person(contacts: Sequence[Json], number: str | None, user_id: str | None, parent: str | None = None) -> Sender:
    """By phone number where WhatsApp gives it, else by user id; a reply reaches either. Raises BadItem without both.

    Ids are opaque but for one thing: what looks like a user id is one, wherever it stands.
    """
    contact = _contact(contacts, number, user_id)
    known = (number, user_id, key(contact.get("wa_id")), key(contact.get("user_id")))
    phone = next((value for value in (number, known[2]) if value and not _is_bsuid(value)), None)
    user = next((value for value in known if _is_bsuid(value)), None)
    if phone is None and user is None:
        user = user_id or known[3]
    parent = next((value for value in (parent, key(contact.get("parent_user_id"))) if _is_bsuid(value)), None)
    if phone is None and user is None:
        raise BadItem("neither a phone number nor a user id")
    address = {"to": phone, "recipient": user, "parent": parent}
    profile = obj(contact.get("profile"))
    return Sender(
        kind="whatsapp",
        value=phone or user or "",
        name=word(profile.get("name")) or word(profile.get("username")),
        phone=f"+{phone}" if phone and phone.isascii() and phone.isdigit() and 7 <= len(phone) <= 15 else None,
        address={name: value for name, value in address.items() if value},
    )


def _sender(message: Json, contacts: Sequence[Json]) -> Sender:
    """In a group each person is somebody else than in private: an answer to one must not appear in the other."""
    person = _person(
        contacts, key(message.get("from")), key(message.get("from_user_id")), key(message.get("from_parent_user_id"))
    )
    group = key(message.get("group_id"))
    if group is None:
        return person
    return Sender(
        kind="whatsapp",
        value=f"{group}:{person.value}",
        name=person.name,
        phone=person.phone,
        address={"to": group, "recipient_type": "group"},
    )


def _id(item: Json) -> str:
    """Real messages have one; without it the same item gives the same key again."""
    return key(item.get("id")) or meta.digest(item)


def _message(message: Json, contacts: Sequence[Json], found: Found) -> None:
    kind = message.get("type")
    if kind == "system":
        found.ignore("system", obj(message.get("system")).get("type"))
        return
    sender = _sender(message, contacts)
    if kind in ("edit", "revoke", "reaction"):
        found.changes.append(_changed(message, kind, sender))
        return
    body = shown(message)
    if body is None:
        found.ignore("message", kind, obj(message.get("interactive")).get("type"))
        return
    found.messages.append(
        InboundMessage(
            external_id=_id(message),
            sender=sender,
            text=body.text,
            sent_at=moment(message.get("timestamp")),
            files=body.files,
            content=body.content,
        )
    )


def _changed(message: Json, kind: str, sender: Sender, *, by_us: bool = False) -> Change:
    """A reaction is to their message or to ours; only what we wrote ourselves can be edited by us."""
    body = obj(message.get(kind))
    target = key(body.get("message_id" if kind == "reaction" else "original_message_id"))
    if target is None:
        raise BadItem(f"{kind}: does not say of what")
    text = None
    if kind == "edit":
        text = (shown(obj(body.get("message"))) or Shown("")).text
    elif kind == "reaction":
        text = word(body.get("emoji"), 50)
    return Change(
        key=_id(message),
        kind={"edit": ChangeKind.EDIT, "revoke": ChangeKind.DELETE, "reaction": ChangeKind.REACTION}[kind],
        sender=sender,
        external_id=None if by_us else target,
        provider_message_id=target if by_us or kind == "reaction" else None,
        text=text,
        at=moment(message.get("timestamp")),
    )


def _echo(message: Json, contacts: Sequence[Json], value: Json, found: Found) -> None:
    """Written in the phone app. Some senders of this call mix up the two ends: our own number is never the customer."""
    own = "".join(filter(str.isdigit, str(obj(value.get("metadata")).get("display_phone_number", ""))))
    to = key(message.get("to"))
    if own and to == own and key(message.get("from")) not in (None, own):
        to = key(message.get("from"))
    recipient = _person(contacts, to, key(message.get("to_user_id")), key(message.get("to_parent_user_id")))
    kind = message.get("type")
    if kind in ("edit", "revoke"):
        found.changes.append(_changed(message, kind, recipient, by_us=True))
        return
    body = shown(message)
    if body is None or kind == "reaction":
        found.ignore("echo", kind)
        return
    found.echoes.append(
        Echo(
            external_id=_id(message),
            recipient=recipient,
            text=body.text,
            sent_at=moment(message.get("timestamp")),
            files=body.files,
            content=body.content,
        )
    )


def _status(status: Json, contacts: Sequence[Json], found: Found, codes: Codes) -> None:
    if status.get("type") == "call":
        _call_status(status, contacts, found)
        return
    said = status.get("status")
    message_id, ours = key(status.get("id")), key(status.get("biz_opaque_callback_data"))
    if message_id is None:
        raise BadItem("id: missing")
    known = _STATUSES.get(said) if isinstance(said, str) else None
    part = ours is not None and _PART.fullmatch(ours) is not None
    if known is None or (part and known != "failed"):
        found.ignore("status", "of a part" if known else said)
        return
    errors = [error for error in sequence(status.get("errors")) if isinstance(error, dict)]
    failed = known == "failed"
    code = errors[0].get("code") if errors else None
    found.statuses.append(
        StatusUpdate(
            provider_message_id=message_id,
            status=known,
            at=moment(status.get("timestamp")),
            detail="; ".join(map(_error_text, errors)) or None,
            our_id=ours.rpartition(":")[0] if part and ours else ours,
            failure=(codes.failure(code, 0) if isinstance(code, int) else None) or SendFailure.PERMANENT
            if failed
            else None,
        )
    )


def _error_text(error: Any) -> str:
    error = obj(error)
    details = obj(error.get("error_data")).get("details") or error.get("details")
    said = [word(text, 300) for text in (error.get("title"), error.get("message"), details)]
    return f"{word(error.get('code')) or 'no code'}: " + " - ".join(dict.fromkeys(text for text in said if text))


def _call(call: Json, contacts: Sequence[Json], found: Found) -> None:
    """We take no calls over the internet here: the desk learns that somebody rang, and how it ended."""
    call_id, event = key(call.get("id")), call.get("event")
    if call_id is None:
        raise BadItem("id: missing")
    if event not in ("connect", "terminate"):
        found.ignore("call", event)
        return
    outbound = call.get("direction") == "BUSINESS_INITIATED"
    duration = call.get("duration")
    duration = float(duration) if isinstance(duration, int | float) and not isinstance(duration, bool) else None
    state = "ringing"
    if event == "terminate":
        state = "ended" if duration or call.get("status") == "COMPLETED" else "missed"
    end = "to" if outbound else "from"
    found.calls.append(
        CallUpdate(
            key=f"{call_id}:{event}",
            call_id=call_id,
            sender=_person(contacts, key(call.get(end)), key(call.get(f"{end}_user_id"))),
            direction="outbound" if outbound else "inbound",
            state=state,
            at=moment(call.get("timestamp")),
            duration_s=duration,
            cause=word(call.get("status")) if event == "terminate" else None,
        )
    )


def _call_status(status: Json, contacts: Sequence[Json], found: Found) -> None:
    call_id, said = key(status.get("id")), status.get("status")
    state = _CALL_STATES.get(said) if isinstance(said, str) else None
    if call_id is None or state is None:
        found.ignore("call status", said)
        return
    found.calls.append(
        CallUpdate(
            key=f"{call_id}:{said}",
            call_id=call_id,
            sender=_person(contacts, key(status.get("recipient_id")), key(status.get("recipient_user_id"))),
            direction="outbound",
            state=state,
            at=moment(status.get("timestamp")),
            cause=word(said) if state == "missed" else None,
        )
    )
