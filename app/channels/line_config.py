"""What an operator gives for a LINE official account."""

from urllib.parse import urlsplit

from app.channels.config import ChannelConfig, HttpUrl, Secret
from app.channels.meta_config import AccessToken


class LineConfig(ChannelConfig):
    """`channel_secret` signs what LINE sends; `access_token` is the channel's long-lived or stateless token.

    `data_base` is where the files lie; left out, it follows `api_base`.
    """

    channel_secret: Secret
    access_token: AccessToken
    api_base: HttpUrl = "https://api.line.me"
    data_base: HttpUrl | None = None

    @property
    def files_base(self) -> str:
        if self.data_base is not None:
            return self.data_base.rstrip("/")
        own = urlsplit(self.api_base).hostname == "api.line.me"
        return "https://api-data.line.me" if own else self.api_base.rstrip("/")
