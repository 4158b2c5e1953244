"""The contract that every adapter keeps: one small description per channel, and the kit's checks on all of them."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

from app.channels.kit import Description
from app.channels.registry import ADAPTERS


def described(type: str) -> Mapping[str, Description]:
    """The descriptions of a channel type, by name, in a module of its name: DESCRIPTION, or DESCRIPTIONS where one type is
    two providers. Empty when nobody has written one."""
    name = f"{__name__}.{type}"
    if find_spec(name) is None:
        return {}
    module = import_module(name)
    found: Mapping[str, Description] = getattr(module, "DESCRIPTIONS", None) or {type: module.DESCRIPTION}
    assert all(one.adapter is ADAPTERS[type] for one in found.values())
    return found


DESCRIPTIONS: Mapping[str, Description] = {
    name: one for type in sorted(ADAPTERS) for name, one in described(type).items()
}


MISSING = (
    "the registry has {type!r} and nobody has described it to the contract kit: write tests/channels/contract/{type}.py "
    "with a DESCRIPTION (docs/add-a-channel.md, step 6; line.py beside it is a short example)"
)
