"""What an operator gives for an Instagram account."""

from typing import Any

from pydantic import model_validator

from app.channels.config import HttpUrl
from app.channels.meta_config import AccountId, MetaConfig


class InstagramConfig(MetaConfig):
    """`account_id` is the Instagram account's id.

    An account that was connected through a Facebook page has its `page_id` here too, and the page's token: then we send
    through the page, at graph.facebook.com. Only that way can files be sent.
    """

    account_id: AccountId
    page_id: AccountId | None = None
    human_agent: bool = False
    api_base: HttpUrl = "https://graph.instagram.com"

    @model_validator(mode="before")
    @classmethod
    def _host(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("page_id") and not given.get("api_base"):
            return {**given, "api_base": "https://graph.facebook.com"}
        return given
