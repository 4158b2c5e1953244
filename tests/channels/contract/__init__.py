"""The contract that every adapter keeps: one small description per channel, and the kit's checks on all of them."""

from importlib import import_module
from importlib.util import find_spec

from app.channels.kit import Description
from app.channels.registry import ADAPTERS


def described(type: str) -> Description | None:
    """The description of a channel type, in a module of its name; None when nobody has written one."""
    name = f"{__name__}.{type}"
    if find_spec(name) is None:
        return None
    found = import_module(name).DESCRIPTION
    assert isinstance(found, Description)
    assert found.adapter is ADAPTERS[type] or type not in ADAPTERS
    return found


MISSING = (
    "the registry has {type!r} and nobody has described it to the contract kit: write tests/channels/contract/{type}.py "
    "with a DESCRIPTION (docs/add-a-channel.md, step 6; line.py beside it is a short example)"
)
