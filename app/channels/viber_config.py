"""What an operator gives for a Viber bot."""

from typing import Annotated

from pydantic import StringConstraints

from app.channels.config import ChannelConfig, HttpUrl
from app.channels.meta_config import AccessToken


class ViberConfig(ChannelConfig):
    """`auth_token` signs what Viber sends and opens its API. Viber shows `sender_name` and `sender_avatar` (the address of
    a square picture) with each of our messages; `welcome` greets whoever opens the chat, before they write."""

    auth_token: AccessToken
    api_base: HttpUrl = "https://chatapi.viber.com"
    sender_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=28)] = "Support"
    sender_avatar: HttpUrl | None = None
    welcome: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=7000)] | None = None
