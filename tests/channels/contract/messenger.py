"""Messenger to the contract kit."""

from tests.channels.contract.messaging import Messaging

PAGE = Messaging("page")


def status(provider_id: str, word: str) -> bytes:
    """Each in its own words, and "sent" by the echo of what we sent."""
    if word == "delivered":
        return PAGE.event(delivery={"mids": [provider_id]})
    return PAGE.event(read={"watermark": 4102444800000})


DESCRIPTION = PAGE.described("messenger", status=status, statuses=("delivered", "read"))
