"""The chat widget to the contract kit: it has a socket instead of calls."""

from app.channels.kit import Description
from app.channels.registry import ADAPTERS

DESCRIPTION = Description(
    adapter=ADAPTERS["webchat"],
    config=lambda base: {"allowed_origins": ["https://shop.example"], "identity_secret": "site-secret-0123"},
    not_checked={
        "incoming": "messages come on /widget/live: tests/intake/test_widget_*.py",
        "outward": "the event stream is the delivery: there is no provider",
        "check": "there are no credentials of a provider",
    },
)
