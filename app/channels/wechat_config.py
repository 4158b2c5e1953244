"""What an operator gives for a WeChat Official Account; what WeCom's configuration has in common with it."""

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr, StringConstraints

from app.channels.config import ChannelConfig, HttpUrl, Secret


def _aes_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9+/]{43}", value.get_secret_value()):
        raise ValueError("must be the 43 characters of the EncodingAESKey")
    return value


AccountName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_-]{1,64}$")]
AesKey = Annotated[SecretStr, AfterValidator(_aes_key)]
Language = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z]{2,8}([_-][A-Za-z0-9]{2,8}){0,3}$")
]


class WechatConfig(ChannelConfig):
    """`token` and `encoding_aes_key` are those of the server configuration, which must be in safe (encrypted) mode.

    `language` is what notices are written in to somebody of whom no other is known, and who has written no word yet.
    """

    app_id: AccountName
    app_secret: Secret
    token: Secret
    encoding_aes_key: AesKey
    language: Language = "zh"
    api_base: HttpUrl = "https://api.weixin.qq.com"
