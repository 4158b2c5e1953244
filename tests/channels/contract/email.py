"""Mail to the contract kit, as far as it is not SMTP and IMAP."""

from app.channels.kit import Description
from app.channels.registry import ADAPTERS

DESCRIPTION = Description(
    adapter=ADAPTERS["email"],
    config=lambda base: {
        "address": "help@shop.example",
        "smtp_url": "smtp://user:smtp-password@smtp.shop.example:587",
        "imap_url": "imaps://user:imap-password@imap.shop.example",
    },
    not_checked={
        "incoming": "mail comes by SMTP, IMAP and mail services: tests/channels/test_mail_*.py, test_fuzz.py",
        "outward": "mail goes out by SMTP: tests/channels/test_mail_send.py",
        "check": "by SMTP: tests/channels/test_mail_send.py",
    },
)
