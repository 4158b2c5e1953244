"""What an operator gives for a Slack app whose channels and direct messages are a customer channel."""

from app.channels.config import ChannelConfig, HttpUrl, Secret
from app.channels.meta_config import AccessToken


class SlackConfig(ChannelConfig):
    """`signing_secret` signs what Slack sends; `bot_token` (xoxb-...) is for sending and for files."""

    signing_secret: Secret
    bot_token: AccessToken
    api_base: HttpUrl = "https://slack.com/api"
