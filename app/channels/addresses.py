"""What a mail address or a number is on the channels that reach people by it (pure)."""

from collections.abc import Mapping
from typing import Any

REACHING = ("email", "sms")


def identity_on(
    channel_type: str, *, email: str | None, phone: str | None
) -> tuple[str, str, Mapping[str, Any]] | None:
    """`(kind, value, address)` as that channel's own messages name the person; None where it does not reach them."""
    if channel_type == "email" and email:
        return "email", email.lower(), {"email": email}
    if channel_type == "sms" and phone:
        return "sms", phone, {"to": phone}
    return None
