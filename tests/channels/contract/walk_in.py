"""What agents enter by hand, to the contract kit: nobody calls and nothing goes out."""

from app.channels.kit import Description
from app.channels.registry import ADAPTERS

DESCRIPTION = Description(
    adapter=ADAPTERS["walk_in"],
    config=lambda base: {},
    not_checked={
        "incoming": "matters are entered by agents through the API",
        "outward": "answers go by another channel, or in person",
        "check": "there are no credentials",
    },
)
