"""Who began a thread on Slack."""

from collections.abc import Mapping
from typing import Any

from app.channels.base import Profile
from app.channels.meta import obj
from app.channels.text import word


def read(user: Mapping[str, Any]) -> Profile:
    """From the user of `users.info`."""
    profile = obj(user.get("profile"))
    names = (profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name"))
    return Profile(
        name=next((name for given in names if (name := word(given))), None),
        language=word(user.get("locale"), 35),
        avatar_url=word(profile.get("image_192"), 2000) or word(profile.get("image_72"), 2000),
        email=word(profile.get("email"), 320),
    )
