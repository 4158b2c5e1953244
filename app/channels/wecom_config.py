"""What an operator gives for WeCom customer service."""

from app.channels.config import ChannelConfig, HttpUrl, Secret
from app.channels.wechat_config import AccountName, AesKey, Language


class WecomConfig(ChannelConfig):
    """`secret` is that of the app which may manage the account `open_kfid`; `token` and `encoding_aes_key` its callback's.

    `language` is what notices are written in to somebody of whom no other is known, and who has written no word yet.
    """

    corp_id: AccountName
    secret: Secret
    open_kfid: AccountName
    token: Secret
    encoding_aes_key: AesKey
    language: Language = "zh"
    api_base: HttpUrl = "https://qyapi.weixin.qq.com"
