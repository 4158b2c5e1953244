"""What an operator gives for a WhatsApp number."""

from app.channels.meta_config import AccountId, MetaConfig


class WhatsAppConfig(MetaConfig):
    """`phone_number_id` is Meta's id of the number, not the number itself."""

    phone_number_id: AccountId
