"""The channel types that this installation has."""

from app.channels.base import Adapter
from app.channels.mail import MailAdapter
from app.channels.partner import PartnerAdapter
from app.channels.telegram import TelegramAdapter
from app.channels.webchat import WebchatAdapter

ADAPTERS: dict[str, Adapter] = {
    adapter.type: adapter for adapter in (WebchatAdapter(), PartnerAdapter(), TelegramAdapter(), MailAdapter())
}
