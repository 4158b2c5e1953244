"""What an operator gives for a sender at Twilio: a number, a short code, a WhatsApp or RCS sender."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from app.channels.config import ChannelConfig, HttpUrl, Secret

AccountSid = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ServiceSid = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^MG[A-Za-z0-9]{1,62}$")]
SenderName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, pattern=r"^((whatsapp|rcs|messenger):)?[+A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$"
    ),
]


class SmsConfig(ChannelConfig):
    """`number` is the sender: +14155550123, 12345, whatsapp:+14155550123, rcs:brand_agent.

    With `messaging_service_sid` Twilio chooses the sender out of that service's pool. With every message
    Twilio is told to send its statuses to this channel's webhook, where ROUNDTRIP_PUBLIC_URL is one that it can reach;
    `status_callback` names another address of it, and false leaves the statuses to Twilio's own settings.
    """

    account_sid: AccountSid
    auth_token: Secret
    number: SenderName
    messaging_service_sid: ServiceSid | None = None
    status_callback: HttpUrl | Literal[False] | None = None
    api_base: HttpUrl = "https://api.twilio.com"
