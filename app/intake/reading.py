"""A genuine call as its adapter reads it; an adapter's mistake is kept in the journal, and stops nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from app import log
from app.catalog import ChannelAccount
from app.channels.base import Call, Parsed, Pulling, Unparseable

QUERY = "?"  # before the name of a part of the query, among the headers that the journal keeps
_logger = log.get("intake")


def read(account: ChannelAccount, call: Call) -> Parsed:
    """The adapter's reading of a genuine call; one that cannot be read at all is an error to keep, not to refuse."""
    try:
        return account.adapter.parse(account.config, call)
    except Unparseable as error:
        return Parsed(errors=[str(error) or "unreadable"])
    except Exception as error:
        _logger.error("adapter failed", channel_id=account.id, type=account.type, error=repr(error), exc_info=True)
        return Parsed(errors=[f"adapter failed: {error!r}"])


def bell_of(account: ChannelAccount, call: Call) -> Mapping[str, str] | None:
    """What a genuine call wants us to pull."""
    if not _pulls(type(account.adapter)):
        return None
    assert isinstance(account.adapter, Pulling)
    try:
        return account.adapter.bell(account.config, call)
    except Unparseable:
        return None
    except Exception as error:
        _logger.error("adapter failed", channel_id=account.id, type=account.type, error=repr(error), exc_info=True)
        return None


@cache
def _pulls(adapter: type[object]) -> bool:
    """Looking a protocol up is too slow for every call."""
    return issubclass(adapter, Pulling)
