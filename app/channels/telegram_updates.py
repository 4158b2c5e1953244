"""An update of the Bot API, read: which kind it is, and what becomes of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.channels import receipts
from app.channels.base import (
    Change,
    ChangeKind,
    Echo,
    InboundMessage,
    Parsed,
    Refusal,
    RefusalReason,
    Sender,
)
from app.channels.telegram_parse import Json, is_int, kinds, moment, objectly, read_message, sender_of, text_of
from app.channels.text import clean, key, scrub, word

# Names of reactions that are no emoji of their own.
_REACTIONS = {"paid": "⭐", "custom_emoji": "[emoji]"}


def parse_update(update: Any) -> Parsed:
    """One update has one kind; those that nobody acts on are named in `ignored`."""
    if not isinstance(update, dict):
        return Parsed(errors=("an update is an object",))
    kind = next((name for name in update if name in _KINDS and update[name] is not None), None)
    if kind is None:
        return Parsed(ignored=kinds(update) or ("empty",))
    if not isinstance(update[kind], dict):
        return Parsed(errors=(f"{kind}: not an object",))
    try:
        return _KINDS[kind](update[kind], update)
    except (TypeError, ValueError, AttributeError) as error:
        return Parsed(errors=(f"{kind}: {type(error).__name__}: {clean(str(error), 200)}",))


def _key(*parts: object) -> str:
    return key(":".join(map(str, parts))) or ""


def callback_of(update: Any) -> str | None:
    """The id of a pressed button, whose clock turns on the phone until it is answered."""
    return key(objectly(objectly(update).get("callback_query")).get("id"))


def _written(message: Json, _: Json) -> Parsed:
    found = read_message(message)
    return found if isinstance(found, Parsed) else Parsed(messages=(found,))


def _edited(message: Json, update: Json) -> Parsed:
    """What is written now. Telegram also calls it an edit when a shared location moves; only words count."""
    found = read_message(message)
    if isinstance(found, Parsed):
        return found
    if not any(isinstance(message.get(field), str) for field in ("text", "caption")):
        return Parsed(ignored=("edited_message without words",))
    stamp = key(message.get("edit_date")) or key(update.get("update_id")) or ""
    return Parsed(changes=(_edit(found, text_of(message), stamp, message),))


def _edit(found: InboundMessage | Echo, text: str, stamp: str, message: Json) -> Change:
    by_us = isinstance(found, Echo)
    return Change(
        key=_key("edit", found.external_id, stamp),
        kind=ChangeKind.EDIT,
        sender=found.recipient if isinstance(found, Echo) else found.sender,
        external_id=None if by_us else found.external_id,
        provider_message_id=found.external_id if by_us else None,
        text=text,
        at=moment(message.get("edit_date")),
    )


def _pressed(query: Json, _: Json) -> Parsed:
    """A button below one of our messages: what is written on it is what the customer said."""
    under, data = objectly(query.get("message")), word(query.get("data"), 500)
    chat = objectly(under.get("chat"))
    query_id = key(query.get("id"))
    if query_id is None or not is_int(chat.get("id")):
        return Parsed(ignored=("callback_query without a message",))
    text = _label(under, data) or data or word(query.get("game_short_name"))
    if text is None:
        return Parsed(ignored=("callback_query without data",))
    author = objectly(query.get("from"))
    content: dict[str, Any] = {"callback": {"data": data, "message_id": scrub(under.get("message_id"))}}
    message = InboundMessage(
        external_id=_key("callback", query_id),
        sender=sender_of(chat, author, under),
        text=clean(text),
        content=content,
        pressed=receipts.pressed(data),
    )
    return Parsed(messages=(message,))


def _label(message: Json, data: str | None) -> str | None:
    keyboard = objectly(message.get("reply_markup")).get("inline_keyboard")
    for row in keyboard if isinstance(keyboard, list) else ():
        for button in row if isinstance(row, list) else ():
            if data is not None and word(objectly(button).get("callback_data"), 500) == data:
                return word(objectly(button).get("text"), 500)
    return None


def _reacted(reaction: Json, update: Json) -> Parsed:
    """All that somebody's reaction consists of now; it comes only to bots that ask for it (`allowed_updates`)."""
    chat, person = objectly(reaction.get("chat")), objectly(reaction.get("user"))
    message_id = reaction.get("message_id")
    if not is_int(chat.get("id")) or not is_int(message_id):
        return Parsed(errors=("message_reaction: chat.id or message_id is missing",))
    author = person or objectly(reaction.get("actor_chat"))
    given = reaction.get("new_reaction")
    emoji = [_emoji(objectly(one)) for one in given] if isinstance(given, list) else []
    target = _key(chat["id"], message_id)
    change = Change(
        key=_key("reaction", target, key(update.get("update_id")) or key(reaction.get("date"))),
        kind=ChangeKind.REACTION,
        sender=sender_of(chat, author, reaction),
        external_id=target,
        provider_message_id=target,
        text="".join(emoji)[:50] or None,
        at=moment(reaction.get("date")),
    )
    return Parsed(changes=(change,))


def _emoji(reaction: Json) -> str:
    return word(reaction.get("emoji"), 20) or _REACTIONS.get(word(reaction.get("type"), 20) or "", "")


def _membership(changed: Json, update: Json) -> Parsed:
    """A person who blocks the bot is not written to until they let it in again. What happens to groups is theirs to know."""
    chat = objectly(changed.get("chat"))
    status = word(objectly(changed.get("new_chat_member")).get("status"), 50)
    if chat.get("type", "private") != "private" or not is_int(chat.get("id")) or status is None:
        return Parsed(ignored=(f"my_chat_member {status or ''}".strip(),))
    refusal = Refusal(
        key=_key("my_chat_member", chat["id"], key(update.get("update_id")) or key(changed.get("date"))),
        sender=sender_of(chat, objectly(changed.get("from")), {}),
        reason=RefusalReason.BLOCKED,
        on=status in ("kicked", "left"),
        at=moment(changed.get("date")),
        detail=f"the bot is {status}",
    )
    return Parsed(refusals=(refusal,))


def _business(message: Json, update: Json) -> Parsed:
    """A chat of a person's own account that the bot looks after: what its owner writes there is an answer of ours."""
    found = _of_business(message)
    if isinstance(found, Parsed):
        return found
    return Parsed(echoes=(found,)) if isinstance(found, Echo) else Parsed(messages=(found,))


def _business_edited(message: Json, update: Json) -> Parsed:
    found = _of_business(message)
    if isinstance(found, Parsed):
        return found
    stamp = key(message.get("edit_date")) or key(update.get("update_id")) or ""
    return Parsed(changes=(_edit(found, text_of(message), stamp, message),))


def _of_business(message: Json) -> InboundMessage | Echo | Parsed:
    """Its message ids count by themselves, so they get a name of their own."""
    connection = key(message.get("business_connection_id"))
    if connection is None:
        return Parsed(errors=("business_message: business_connection_id is missing",))
    if message.get("sender_business_bot") is not None:
        return Parsed(ignored=("our own business_message",))
    found = read_message(message)
    if isinstance(found, Parsed):
        return found
    chat_id = message["chat"]["id"]
    customer = _business_customer(chat_id, connection, found.sender)
    own_id = _key(connection, found.external_id)
    if objectly(message.get("from")).get("id") == chat_id:
        return replace(found, external_id=own_id, sender=customer)
    return Echo(own_id, replace(customer, name=None), found.text, found.sent_at, found.files, found.content)


def _business_customer(chat_id: int, connection: str, author: Sender) -> Sender:
    address = {"chat_id": chat_id, "business_connection_id": connection}
    return Sender("telegram", _key(connection, chat_id), name=author.name, language=author.language, address=address)


def _business_deleted(deleted: Json, update: Json) -> Parsed:
    connection, chat_id = key(deleted.get("business_connection_id")), objectly(deleted.get("chat")).get("id")
    numbers = deleted.get("message_ids")
    if connection is None or not isinstance(chat_id, int) or not isinstance(numbers, list):
        return Parsed(errors=("deleted_business_messages: connection, chat or message_ids are missing",))
    sender = _business_customer(chat_id, connection, Sender("telegram", ""))
    gone = [_key(connection, chat_id, number) for number in numbers if is_int(number)]
    return Parsed(
        changes=tuple(
            Change(_key("delete", name), ChangeKind.DELETE, sender, external_id=name, provider_message_id=name)
            for name in gone
        ),
        ignored=() if gone else ("deleted_business_messages without ids",),
    )


_KINDS: Mapping[str, Callable[[Json, Json], Parsed]] = {
    "message": _written,
    "edited_message": _edited,
    "callback_query": _pressed,
    "message_reaction": _reacted,
    "my_chat_member": _membership,
    "business_message": _business,
    "edited_business_message": _business_edited,
    "deleted_business_messages": _business_deleted,
}
