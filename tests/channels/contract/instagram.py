"""Instagram to the contract kit."""

from tests.channels.contract.messaging import Messaging

INSTAGRAM = Messaging("instagram")


def status(provider_id: str, word: str) -> bytes:
    return INSTAGRAM.event(read={"mid": provider_id})


DESCRIPTION = INSTAGRAM.described("instagram", status=status, statuses=("read",))
