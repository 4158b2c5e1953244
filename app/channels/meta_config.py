"""What the configurations of Meta's channels share."""

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr, StringConstraints

from app.channels.config import ChannelConfig, HttpUrl, Secret


def _bearer(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{1,2000}", value.get_secret_value()):
        raise ValueError("must be 1 to 2000 printable ASCII characters without spaces")
    return value


def _account_id(value: str) -> str:
    if not re.fullmatch(r"[^\s/?#%\\]{1,100}", value) or not any(char.isalnum() for char in value):
        raise ValueError("must be an id such as 102290129340398")
    return value


AccountId = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_account_id)]
AccessToken = Annotated[SecretStr, AfterValidator(_bearer)]


class MetaConfig(ChannelConfig):
    """`app_secret` signs what Meta sends; `verify_token` is ours, for the handshake; `access_token` is for sending."""

    app_secret: Secret
    verify_token: Secret
    access_token: AccessToken
    api_base: HttpUrl = "https://graph.facebook.com"
    api_version: Annotated[str, StringConstraints(pattern=r"^v\d{1,3}\.\d{1,2}$")] = "v24.0"
