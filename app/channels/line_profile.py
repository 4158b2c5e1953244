"""Who writes on LINE: the path under which it tells, which differs between a chat, a group and a room."""

from collections.abc import Mapping
from typing import Any

from app.channels.base import Profile, Sender, SendError, SendFailure
from app.channels.text import word


def path_of(sender: Sender) -> str:
    """Below `/v2/bot`. Raises SendError for what names no single person."""
    place, colon, user = sender.value.rpartition(":")
    if not all(part.isascii() and part.isalnum() for part in (user, place) if part) or (colon and user == "group"):
        raise SendError(SendFailure.RECIPIENT, "nobody whom LINE could name")
    if not colon:
        return f"profile/{user}"
    return f"{'room' if place.upper().startswith('R') else 'group'}/{place}/member/{user}"


def read(answer: Mapping[str, Any]) -> Profile:
    return Profile(
        name=word(answer.get("displayName")),
        language=word(answer.get("language"), 35),
        avatar_url=word(answer.get("pictureUrl"), 2000),
    )
