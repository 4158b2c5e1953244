"""A call of the WhatsApp Cloud API, read: messages, edits, reactions, statuses, echoes of the phone app, calls."""

import re
from collections.abc import Callable
from typing import Any

from app.channels import meta, receipts
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
from app.channels.whatsapp_people import People, changed, person
from app.channels.whatsapp_show import Shown, shown

_CHANGED = re.compile(r"(?:user|customer)_changed_(?:number|user_id)")
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
    people = People(sequence(value.get("contacts")))
    readers: dict[str, Callable[[Json], None]] = {
        "messages": lambda item: _message(item, people, found),
        "message_echoes": lambda item: _echo(item, people, value, found),
        "calls": lambda item: _call(item, people, found),
        "statuses": lambda item: _status(item, people, found, codes),
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


def _sender(message: Json, people: People) -> Sender:
    """In a group each person is somebody else than in private: an answer to one must not appear in the other."""
    who = person(
        people, key(message.get("from")), key(message.get("from_user_id")), key(message.get("from_parent_user_id"))
    )
    group = key(message.get("group_id"))
    if group is None:
        return who
    return Sender(
        kind="whatsapp",
        value=f"{group}:{who.value}",
        name=who.name,
        phone=who.phone,
        address={"to": group, "recipient_type": "group"},
        also=tuple((kind, f"{group}:{value}") for kind, value in who.also),
    )


def _system(message: Json, found: Found) -> None:
    """WhatsApp's own word about somebody: only who they are from now on matters here."""
    said = obj(message.get("system")).get("type")
    who = changed(message) if isinstance(said, str) and _CHANGED.fullmatch(said) else None
    if who is None:
        found.ignore("system", said)
    else:
        found.people.append(who)


def _id(item: Json) -> str:
    """Real messages have one; without it the same item gives the same key again."""
    return key(item.get("id")) or meta.digest(item)


def _message(message: Json, people: People, found: Found) -> None:
    kind = message.get("type")
    if kind == "system":
        _system(message, found)
        return
    sender = _sender(message, people)
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
            pressed=_pressed(message),
        )
    )


def _pressed(message: Json) -> str | None:
    """A button of a template comes as a kind of its own."""
    replied = obj(obj(message.get("interactive")).get("button_reply"))
    return receipts.pressed(replied.get("id")) or receipts.pressed(obj(message.get("button")).get("payload"))


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


def _echo(message: Json, people: People, value: Json, found: Found) -> None:
    """Written in the phone app. Some senders of this call mix up the two ends: our own number is never the customer."""
    own = "".join(filter(str.isdigit, str(obj(value.get("metadata")).get("display_phone_number", ""))))
    to = key(message.get("to"))
    if own and to == own and key(message.get("from")) not in (None, own):
        to = key(message.get("from"))
    recipient = person(people, to, key(message.get("to_user_id")), key(message.get("to_parent_user_id")))
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


def _status(status: Json, people: People, found: Found, codes: Codes) -> None:
    if status.get("type") == "call":
        _call_status(status, people, found)
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
            refusal=codes.refusal(code, 0) if failed and isinstance(code, int) else None,
        )
    )


def _error_text(error: Any) -> str:
    error = obj(error)
    details = obj(error.get("error_data")).get("details") or error.get("details")
    said = [word(text, 300) for text in (error.get("title"), error.get("message"), details)]
    return f"{word(error.get('code')) or 'no code'}: " + " - ".join(dict.fromkeys(text for text in said if text))


def _call(call: Json, people: People, found: Found) -> None:
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
            key=key(f"{call_id}:{event}") or call_id,
            call_id=call_id,
            sender=person(people, key(call.get(end)), key(call.get(f"{end}_user_id"))),
            direction="outbound" if outbound else "inbound",
            state=state,
            at=moment(call.get("timestamp")),
            duration_s=duration,
            cause=word(call.get("status")) if event == "terminate" else None,
        )
    )


def _call_status(status: Json, people: People, found: Found) -> None:
    call_id, said = key(status.get("id")), status.get("status")
    state = _CALL_STATES.get(said) if isinstance(said, str) else None
    if call_id is None or state is None:
        found.ignore("call status", said)
        return
    found.calls.append(
        CallUpdate(
            key=key(f"{call_id}:{said}") or call_id,
            call_id=call_id,
            sender=person(people, key(status.get("recipient_id")), key(status.get("recipient_user_id"))),
            direction="outbound",
            state=state,
            at=moment(status.get("timestamp")),
            cause=word(said) if state == "missed" else None,
        )
    )
