"""Messaging events of a page or an Instagram account, read: the envelope that Messenger and Instagram share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.channels import meta, receipts
from app.channels.base import (
    Change,
    ChangeKind,
    Echo,
    InboundMessage,
    Parsed,
    Sender,
    StatusUpdate,
)
from app.channels.meta import BadItem, Found, Json, moment, obj, sequence
from app.channels.meta_attachments import read_attachments
from app.channels.text import clean, key, scrub, word

# Ours in `message.metadata`, which comes back in the echo of what we sent.
METADATA = "roundtrip:"
_ENVELOPE = frozenset({"sender", "recipient", "timestamp", "prior_message", "is_standby"})
_NO_WORDS = "[unsupported]"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose events these are. `aliases` are other ids of the same account; with `strict` both ends must name it."""

    kind: str
    envelope: str
    account_id: str
    aliases: frozenset[str] = frozenset()
    strict: bool = True

    def owns(self, entry_id: str | None, own_end: str | None) -> bool:
        """A page that shares the app is another account; ids that are no numbers (samples have such) name none."""
        given = [value for value in (entry_id, own_end) if value]
        named = [value for value in given if value == self.account_id or value in self.aliases]
        others = [value for value in given if value not in named and value.isdigit()]
        return not given or (bool(named) and not (self.strict and others))


def parse(body: Json, account: Account) -> Parsed:
    found = Found()
    for where, entry in meta.entries(body, account.envelope, found):
        entry_id = key(entry.get("id"))
        for name in ("messaging", "standby"):
            for place, event in enumerate(sequence(entry.get(name))):
                with found.item(f"{where} {name} {place}"):
                    if not isinstance(event, dict):
                        raise BadItem("not an object")
                    _event(event, account, entry_id, found, standby=name == "standby")
        for change in sequence(entry.get("changes")):
            value = obj(obj(change).get("value"))
            found.ignore(obj(change).get("field"), value.get("item"), value.get("verb"))
    return found.parsed()


def _event(event: Json, account: Account, entry_id: str | None, found: Found, *, standby: bool) -> None:
    message = obj(event.get("message"))
    echo = message.get("is_echo") is True
    ours, theirs = ("sender", "recipient") if echo else ("recipient", "sender")
    if not account.owns(entry_id, key(obj(event.get(ours)).get("id"))):
        found.ignore(meta.OTHER_ACCOUNT)
        return
    person = obj(event.get(theirs))
    kind = next((name for name in _READERS if isinstance(event.get(name), dict)), None)
    if kind is None:
        found.ignore(*([name for name in event if name not in _ENVELOPE] or ["empty event"]))
        return
    customer = _customer(person, account.kind)
    if customer is not None and account.owns(None, customer.value):
        found.ignore(kind, "of our own")
        return
    if echo:
        _echo(event, message, customer, found)
    else:
        _READERS[kind](event, customer, found, standby)


def _customer(person: Json, kind: str) -> Sender | None:
    """`user_ref` stands for somebody whom Meta does not name yet; an answer can be sent to it all the same."""
    user_id, user_ref = key(person.get("id")), key(person.get("user_ref"))
    if user_id is not None:
        return Sender(kind=kind, value=user_id, name=_name(person), address={"id": user_id})
    if user_ref is not None:
        return Sender(kind=kind, value=f"ref:{user_ref}", name=_name(person), address={"user_ref": user_ref})
    return None


def _name(person: Json) -> str | None:
    return word(person.get("name")) or word(person.get("username"))


def _known(customer: Sender | None) -> Sender:
    if customer is None:
        raise BadItem("no sender")
    return customer


def _message(event: Json, customer: Sender | None, found: Found, standby: bool) -> None:
    message, sender = obj(event.get("message")), _known(customer)
    mid = key(message.get("mid"))
    if mid is None:
        raise BadItem("mid: missing")
    if message.get("is_deleted") is True:
        found.changes.append(_deleted(mid, sender, event))
        return
    text, seen = _words(message), read_attachments(message)
    if not text and not seen.text and not seen.files:
        if message.get("is_unsupported") is not True:
            found.ignore("empty message")
            return
        text = _NO_WORDS
    content = _content(message, event, standby=standby)
    found.messages.append(
        InboundMessage(
            external_id=mid,
            sender=sender,
            text="\n".join(part for part in (text, seen.text) if part),
            sent_at=moment(event.get("timestamp")),
            files=seen.files,
            content={**content, **seen.content},
            automatic=standby,
            pressed=receipts.pressed(obj(message.get("quick_reply")).get("payload")),
        )
    )


def _words(message: Json) -> str:
    text = message.get("text")
    return clean(text) if isinstance(text, str) else ""


def _content(message: Json, event: Json, *, standby: bool = False) -> dict[str, Any]:
    """For people only. On standby another app owns the thread: the message is kept, and nobody of ours has to answer."""
    kept = {
        name: scrub(message[name]) for name in ("quick_reply", "reply_to", "referral", "sticker_id") if name in message
    }
    if isinstance(event.get("prior_message"), dict):
        kept["prior_message"] = scrub(event["prior_message"])
    if standby:
        kept["standby"] = True
    return kept


def _deleted(mid: str, sender: Sender, event: Json, *, by_us: bool = False) -> Change:
    return Change(
        key=key(f"{mid}:deleted") or mid,
        kind=ChangeKind.DELETE,
        sender=sender,
        external_id=None if by_us else mid,
        provider_message_id=mid if by_us else None,
        at=moment(event.get("timestamp")),
    )


def _echo(event: Json, message: Json, customer: Sender | None, found: Found) -> None:
    """What we sent ourselves comes back with our own id and proves that it went out; the rest was written in Meta's inbox."""
    mid, recipient = key(message.get("mid")), _known(customer)
    if mid is None:
        raise BadItem("mid: missing")
    metadata = message.get("metadata")
    if isinstance(metadata, str) and metadata.startswith(METADATA):
        _own_echo(mid, metadata.removeprefix(METADATA), event, found)
        return
    if message.get("is_deleted") is True:
        found.changes.append(_deleted(mid, recipient, event, by_us=True))
        return
    seen = read_attachments(message)
    text = "\n".join(part for part in (_words(message), seen.text) if part)
    if not text and not seen.files:
        found.ignore("empty echo")
        return
    content = {**_content(message, event), **seen.content}
    if (app_id := key(message.get("app_id"))) is not None:
        content["app_id"] = app_id
    found.echoes.append(
        Echo(
            external_id=mid,
            recipient=recipient,
            text=text,
            sent_at=moment(event.get("timestamp")),
            files=seen.files,
            content=content,
        )
    )


def _own_echo(mid: str, ours: str, event: Json, found: Found) -> None:
    message_id, slash, _ = ours.partition("/")
    if slash:
        found.ignore("echo of a part")
        return
    at = moment(event.get("timestamp"))
    found.statuses.append(StatusUpdate(provider_message_id=mid, status="sent", at=at, our_id=clean(message_id, 100)))


def _edit(event: Json, customer: Sender | None, found: Found, standby: bool) -> None:
    """Instagram announces each new message by an edit number 0, sometimes without saying whose."""
    edit = obj(event.get("message_edit"))
    mid, number = key(edit.get("mid")), word(edit.get("num_edit"))
    if number == "0":
        found.ignore("message_edit 0")
        return
    if mid is None:
        raise BadItem("mid: missing")
    text = _words(edit)
    found.changes.append(
        Change(
            key=key(f"{mid}:edit:{number or meta.digest(event.get('timestamp'), text)}") or mid,
            kind=ChangeKind.EDIT,
            sender=_known(customer),
            external_id=mid,
            text=text,
            at=moment(event.get("timestamp")),
        )
    )


def _reaction(event: Json, customer: Sender | None, found: Found, standby: bool) -> None:
    reaction, sender = obj(event.get("reaction")), _known(customer)
    mid, action = key(reaction.get("mid")), reaction.get("action")
    if mid is None:
        raise BadItem("mid: missing")
    emoji = word(reaction.get("emoji"), 50) or word(reaction.get("reaction"), 50)
    found.changes.append(
        Change(
            key=key(f"{mid}:reaction:{meta.digest(sender.value, action, emoji, event.get('timestamp'))}") or mid,
            kind=ChangeKind.REACTION,
            sender=sender,
            external_id=mid,
            provider_message_id=mid,
            text=None if action == "unreact" else emoji,
            at=moment(event.get("timestamp")),
        )
    )


def _postback(event: Json, customer: Sender | None, found: Found, standby: bool) -> None:
    """A button that was tapped: its title is what the customer said."""
    postback, sender = obj(event.get("postback")), _known(customer)
    text = word(postback.get("title"), 1000) or word(postback.get("payload"), 1000)
    if text is None:
        found.ignore("postback without a title")
        return
    stamp = (sender.value, event.get("timestamp"), postback.get("payload"), text)
    content = {**_content({}, event, standby=standby), "postback": scrub(postback)}
    found.messages.append(
        InboundMessage(
            external_id=key(postback.get("mid")) or f"postback:{meta.digest(*stamp)}",
            sender=sender,
            text=text,
            sent_at=moment(event.get("timestamp")),
            content=content,
            automatic=standby,
            pressed=receipts.pressed(postback.get("payload")),
        )
    )


def _delivery(event: Json, customer: Sender | None, found: Found, standby: bool) -> None:
    delivery = obj(event.get("delivery"))
    upto = moment(delivery.get("watermark"))
    for mid in filter(None, map(key, sequence(delivery.get("mids")))):
        found.statuses.append(StatusUpdate(provider_message_id=mid, status="delivered", at=upto))
    _upto(upto, "delivered", customer, found)


def _read(event: Json, customer: Sender | None, found: Found, standby: bool) -> None:
    """Messenger says up to when, Instagram says which."""
    read = obj(event.get("read"))
    mid, at = key(read.get("mid")), moment(event.get("timestamp"))
    if mid is not None:
        found.statuses.append(StatusUpdate(provider_message_id=mid, status="read", at=at))
    elif moment(read.get("watermark")) is None:
        raise BadItem("read: neither a watermark nor a message")
    else:
        _upto(moment(read.get("watermark")), "read", customer, found, at=at)


def _upto(
    upto: datetime | None, status: str, customer: Sender | None, found: Found, *, at: datetime | None = None
) -> None:
    if upto is not None:
        found.statuses.append(StatusUpdate("", status, at=at or upto, upto=upto, recipient=_known(customer)))


_READERS: Mapping[str, Any] = {
    "message": _message,
    "message_edit": _edit,
    "reaction": _reaction,
    "postback": _postback,
    "delivery": _delivery,
    "read": _read,
}
