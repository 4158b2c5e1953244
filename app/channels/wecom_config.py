"""What an operator gives for WeCom customer service."""

from app.channels.config import ChannelConfig, HttpUrl, Secret
from app.channels.wechat_config import AccountName, AesKey


class WecomConfig(ChannelConfig):
    """`secret` is that of the app which may manage the account `open_kfid`; `token` and `encoding_aes_key` its callback's."""

    corp_id: AccountName
    secret: Secret
    open_kfid: AccountName
    token: Secret
    encoding_aes_key: AesKey
    api_base: HttpUrl = "https://qyapi.weixin.qq.com"
