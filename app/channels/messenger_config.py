"""What an operator gives for a Facebook page."""

from app.channels.meta_config import AccountId, MetaConfig


class MessengerConfig(MetaConfig):
    """`account_id` is the page's id. With `human_agent` (a permission of Meta's) people may answer for 7 days instead of 24 h."""

    account_id: AccountId
    human_agent: bool = False
