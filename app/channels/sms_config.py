"""What an operator gives for a sender at Twilio: a number, a short code, a WhatsApp or RCS sender."""

from typing import Annotated

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

    With `messaging_service_sid` Twilio chooses the sender out of that service's pool. `status_callback` is the public
    address of this channel's webhook; without it Twilio tells the statuses where its own settings say.
    """

    account_sid: AccountSid
    auth_token: Secret
    number: SenderName
    messaging_service_sid: ServiceSid | None = None
    status_callback: HttpUrl | None = None
    api_base: HttpUrl = "https://api.twilio.com"
