"""Who is meant by the ids of a WhatsApp call: since 2026 a phone number, a user id of Meta's, or both."""

import re
from collections.abc import Sequence
from typing import Any

from app.channels.base import Sender
from app.channels.meta import BadItem, Json, obj
from app.channels.text import key, word

# Business-scoped user id, its own or its parent's: two letters of a country, then letters and digits.
_BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")


class People:
    """The `contacts` of a call: who its ids are."""

    def __init__(self, contacts: Sequence[Any]) -> None:
        known = [contact for contact in contacts if isinstance(contact, dict)]
        self._by_id = {key(contact.get(name)): contact for contact in known for name in ("user_id", "wa_id")}
        self._only: Json = known[0] if len(known) == 1 else {}

    def named(self, *ids: str | None) -> Json:
        """A single one is meant in any case, because WhatsApp writes some numbers in two ways."""
        return next((self._by_id[known] for known in ids if known and known in self._by_id), self._only)


def _is_bsuid(value: str | None) -> bool:
    return value is not None and _BSUID.fullmatch(value) is not None


def person(people: People, number: str | None, user_id: str | None, parent: str | None = None) -> Sender:
    """By phone number where WhatsApp gives it, else by user id; a reply reaches either. Raises BadItem without both.

    Ids are opaque but for one thing: what looks like a user id is one, wherever it stands. The others that are given go
    along as `also`, so that a message by any of them is the same person's.
    """
    contact = people.named(number, user_id)
    known = (number, user_id, key(contact.get("wa_id")), key(contact.get("user_id")))
    numbers = [value for value in (number, known[2]) if value and not _is_bsuid(value)]
    user = next((value for value in known if _is_bsuid(value)), None)
    if not numbers and user is None:
        user = user_id or known[3]
    parent = next((value for value in (parent, key(contact.get("parent_user_id"))) if _is_bsuid(value)), None)
    if not numbers and user is None:
        raise BadItem("neither a phone number nor a user id")
    phone = numbers[0] if numbers else None
    address = {"to": phone, "recipient": user, "parent": parent}
    profile = obj(contact.get("profile"))
    return Sender(
        kind="whatsapp",
        value=phone or user or "",
        name=word(profile.get("name")) or word(profile.get("username")),
        phone=f"+{phone}" if phone and phone.isascii() and phone.isdigit() and 7 <= len(phone) <= 15 else None,
        address={name: value for name, value in address.items() if value},
        also=_others(phone or user, *numbers, user, parent),
    )


def changed(message: Json) -> Sender | None:
    """Somebody has another number now, or another user id; None when the new or the old one is not said.

    A new number brings a new user id. What Meta calls them afterwards stands in `system`, as do their former user ids; the
    former number is the sender.
    """
    system = obj(message.get("system"))
    numbers = [value for name in ("new_wa_id", "wa_id") if (value := key(system.get(name)))]
    given = [key(system.get(name)) for name in ("user_id", "parent_user_id")]
    users = [value for value in given if value and _is_bsuid(value)]
    former = [
        *(key(message.get(name)) for name in ("from", "from_user_id", "from_parent_user_id")),
        *(key(system.get(name)) for name in ("customer", "previous_user_id", "previous_parent_user_id")),
    ]
    now = [*numbers, *users]
    if not now or not any(name and name not in now for name in former):
        return None
    phone = next((value for value in numbers if not _is_bsuid(value)), None)
    user = next((value for value in now if _is_bsuid(value)), None)
    address = {"to": phone, "recipient": user}
    return Sender(
        kind="whatsapp",
        value=now[0],
        address={name: value for name, value in address.items() if value},
        also=_others(*now, *former),
    )


def _others(value: str | None, *also: str | None) -> tuple[tuple[str, str], ...]:
    return tuple(("whatsapp", other) for other in dict.fromkeys(also) if other and other != value)
